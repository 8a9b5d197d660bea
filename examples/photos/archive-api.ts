/**
 * The archive API, behind the storage API: where pictures go that nobody has looked at for long. Nobody calls it but other APIs, and
 * still it knows for whom a picture is asked for: its tokens were exchanged for those of the storage, which were exchanged for those
 * of the photos API (RFC 8693).
 *
 * Its access tokens are JWTs (RFC 9068).
 */
import Fastify from 'fastify';
import { resourceServer } from 'gatehouse/resource-server';
import { drawPicture } from './pictures.ts';
import { listenOn, stopping, whenStartedDirectly } from './settings.ts';
import { toldBy } from './story.ts';

export interface ArchiveApiSettings {
  readonly issuer: string;
  readonly port: number;
  /** This API's identifier, which access tokens must name. */
  readonly resource: string;
}

export async function startArchiveApi({ issuer, port, resource }: ArchiveApiSettings) {
  const app = Fastify(stopping);
  await app.register(resourceServer, {
    issuer,
    resource,
    token: { kind: 'jwt' },
    metadata: { resource_name: 'Photo archive' },
  });
  const guarded = { onRequest: app.requireScope('archive.read') };

  app.get<{ Params: { name: string } }>('/boxes/:name', guarded, async (request, reply) => {
    const picture = drawPicture(request.params.name);
    if (picture === undefined) return reply.code(404).send({ error: 'not_found' });
    return reply.headers({ 'content-type': 'image/svg+xml', 'x-content-type-options': 'nosniff' }).send(picture);
  });
  app.get('/story', guarded, async ({ accessToken }) => ({ told: [toldBy('Archive API', accessToken)] }));

  await app.listen({ host: listenOn, port });
  return { close: () => app.close() };
}

await whenStartedDirectly(import.meta.url, async ({ archiveApi }) => {
  await startArchiveApi(archiveApi);
  console.log(`The archive API listens at ${archiveApi.resource}`);
});
