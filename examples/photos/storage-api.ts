/**
 * The storage API, behind the photos API: it holds the pictures, but for some that it has put away in the archive.
 *
 * Its access tokens are opaque: they say nothing by themselves, so this API asks Gatehouse about each one
 * (introspection, RFC 7662). That costs a request, and a token that was revoked a moment ago is refused. The answer also
 * names the key of a bound token (DPoP, RFC 9449), whose proof is then asked for.
 */
import Fastify from 'fastify';
import { type AccessToken, resourceServer } from 'gatehouse/resource-server';
import { type ApiCredentials, callNext } from './next-api.ts';
import { drawPicture } from './pictures.ts';
import { listenOn, stopping, whenStartedDirectly } from './settings.ts';
import { type Told, toldBy } from './story.ts';

/** The client is what the API calls itself when it asks about tokens: one with a secret, or with a key of its own. */
export type StorageApiSettings = ApiCredentials & {
  readonly port: number;
  /** This API's identifier, which access tokens must name. */
  readonly resource: string;
  /** Where the archive API is, which is its identifier too. */
  readonly archiveApi: string;
};

/** Pictures that are in the archive. */
const PUT_AWAY: ReadonlySet<string> = new Set(['harbour', 'snowfall']);

export async function startStorageApi(settings: StorageApiSettings) {
  const { port, resource, archiveApi, ...credentials } = settings;
  const { issuer, clientId } = credentials;
  const fetchFromArchive = callNext(credentials, archiveApi, 'archive.read');
  const app = Fastify(stopping);
  await app.register(resourceServer, {
    issuer,
    resource,
    metadata: { resource_name: 'Photo storage' },
    // With a key it is an API under FAPI 2.0: it wants its answers signed (RFC 9701), to be able to show what it was told, and
    // lets no token in that whoever finds it could use.
    ...('privateKey' in settings
      ? {
          token: { kind: 'introspection', clientId, privateKey: settings.privateKey, signed: true },
          bindings: ['dpop'],
        }
      : { token: { kind: 'introspection', clientId, clientSecret: settings.clientSecret } }),
  });

  const guarded = { onRequest: app.requireScope('storage.read') };
  app.get<{ Params: { name: string } }>('/objects/:name', guarded, async (request, reply) => {
    const { name } = request.params;
    const picture = PUT_AWAY.has(name) ? await fromArchive(request.accessToken, `/boxes/${name}`) : drawPicture(name);
    if (picture === undefined) return reply.code(404).send({ error: 'not_found' });
    return reply.headers({ 'content-type': 'image/svg+xml', 'x-content-type-options': 'nosniff' }).send(picture);
  });
  app.get('/story', guarded, async ({ accessToken }) => {
    const { told } = JSON.parse(await fromArchive(accessToken, '/story')) as { told: Told[] };
    return { told: [toldBy('Storage API', accessToken), ...told] };
  });

  async function fromArchive(accessToken: AccessToken, path: string): Promise<string> {
    const response = await fetchFromArchive(accessToken, path);
    if (!response.ok) throw new Error(`the archive answered ${response.status}`);
    return response.text();
  }

  app.setErrorHandler(async (error, _request, reply) => {
    console.error('The archive could not be read:', error instanceof Error ? error.message : error);
    return reply.code(502).send({ error: 'archive_unavailable' });
  });

  await app.listen({ host: listenOn, port });
  return { close: () => app.close() };
}

await whenStartedDirectly(import.meta.url, async ({ storageApi }) => {
  await startStorageApi(storageApi);
  console.log(`The storage API listens at ${storageApi.resource}`);
});
