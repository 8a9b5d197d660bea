/** Serves the browser-only app: fixed files, and the three addresses its script needs. All else happens in the browser. */
import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';

export async function serveSpa(
  app: FastifyInstance,
  settings: {
    readonly issuer: string;
    readonly photosApi: string;
    readonly spaClientId: string;
    readonly origin: string;
  },
): Promise<void> {
  const { issuer, photosApi, spaClientId, origin } = settings;
  const read = (name: string) => readFile(new URL(`./public/${name}`, import.meta.url), 'utf8');
  const [page, script, style] = await Promise.all([read('spa.html'), read('spa.js'), read('photos.css')]);

  app.get('/photos.css', async (_request, reply) => reply.type('text/css').send(style));
  app.get('/spa.js', async (_request, reply) => reply.type('text/javascript').send(script));
  app.get('/spa/settings.json', async () => ({
    issuer,
    photosApi,
    clientId: spaClientId,
    redirectUri: `${origin}/spa/callback`,
  }));

  // The page holds tokens in its memory, so only our own script may run in it, and it may only call these two.
  const connect = `'self' ${new URL(issuer).origin} ${new URL(photosApi).origin}`;
  const policy = `default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src ${connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  for (const path of ['/spa', '/spa/callback']) {
    app.get(path, async (_request, reply) =>
      reply.header('content-security-policy', policy).type('text/html').send(page),
    );
  }
}
