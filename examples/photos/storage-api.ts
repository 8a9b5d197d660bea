/**
 * The storage API, behind the photos API: it holds the pictures.
 *
 * Its access tokens are opaque: they say nothing by themselves, so this API asks Gatehouse about each one
 * (introspection, RFC 7662). That costs a request, and a token that was revoked a moment ago is refused. The answer also
 * names the key of a bound token (DPoP, RFC 9449), whose proof is then asked for.
 */
import Fastify from 'fastify';
import { type IntrospectionClient, resourceServer } from 'gatehouse/resource-server';
import { drawPicture } from './pictures.ts';
import { listenOn, whenStartedDirectly } from './settings.ts';

/** The client is what the API calls itself when it asks about tokens: one with a secret, or with a key of its own. */
export type StorageApiSettings = IntrospectionClient & {
  readonly issuer: string;
  readonly port: number;
  /** This API's identifier, which access tokens must name. */
  readonly resource: string;
};

export async function startStorageApi(settings: StorageApiSettings) {
  const { issuer, clientId, port, resource } = settings;
  const app = Fastify();
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

  app.get<{ Params: { name: string } }>(
    '/objects/:name',
    { onRequest: app.requireScope('storage.read') },
    async (request, reply) => {
      const picture = drawPicture(request.params.name);
      if (picture === undefined) return reply.code(404).send({ error: 'not_found' });
      return reply.headers({ 'content-type': 'image/svg+xml', 'x-content-type-options': 'nosniff' }).send(picture);
    },
  );

  await app.listen({ host: listenOn, port });
  return { close: () => app.close() };
}

await whenStartedDirectly(import.meta.url, async ({ storageApi }) => {
  await startStorageApi(storageApi);
  console.log(`The storage API listens at ${storageApi.resource}`);
});
