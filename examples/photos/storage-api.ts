/**
 * The storage API, behind the photos API: it holds the pictures.
 *
 * Its access tokens are opaque: they say nothing by themselves, so this API asks Gatehouse about each one
 * (introspection, RFC 7662). That costs a request, and a token that was revoked a moment ago is refused. The answer also
 * names the key of a bound token (DPoP, RFC 9449), whose proof is then asked for.
 */
import Fastify from 'fastify';
import { resourceServer } from 'gatehouse/resource-server';
import type { ClientSettings } from './gatehouse.ts';
import { drawPicture } from './pictures.ts';
import { listenOn, whenStartedDirectly } from './settings.ts';

/** @param settings `resource` is this API's identifier; the client is what it calls itself when it asks about tokens */
export async function startStorageApi(settings: ClientSettings & { readonly port: number; readonly resource: string }) {
  const { issuer, clientId, clientSecret, port, resource } = settings;
  const app = Fastify();
  await app.register(resourceServer, {
    issuer,
    resource,
    token: { kind: 'introspection', clientId, clientSecret },
    metadata: { resource_name: 'Photo storage' },
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
