/** Our copies of clients' logos. Served from here, so that a client does not learn who looks at a consent page. */
import type { FastifyInstance } from 'fastify';

export interface ClientLogo {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export function serveClientLogos(
  app: FastifyInstance,
  find: (clientId: string) => Promise<ClientLogo | undefined>,
): void {
  app.get<{ Params: { id: string } }>('/client-logos/:id', async (request, reply) => {
    // PostgreSQL has no NUL in texts: an id with one is nobody's, not an error of ours.
    const logo = request.params.id.includes('\0') ? undefined : await find(request.params.id);
    if (!logo) return reply.callNotFound();
    return reply
      .header('cache-control', 'public, max-age=86400')
      .header('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
      .header('cross-origin-resource-policy', 'same-origin')
      .type(logo.mediaType)
      .send(logo.bytes);
  });
}
