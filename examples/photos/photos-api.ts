/**
 * The photos API: it knows whose photos there are, and fetches the pictures from the storage API behind it.
 *
 * Its access tokens are JWTs: it checks them by itself with Gatehouse's public keys (RFC 9068) and asks nobody. A token that
 * its client bound to a key (DPoP, RFC 9449) is let in with a proof of that key only.
 */
import { randomUUID } from 'node:crypto';
import Fastify, { type FastifyReply } from 'fastify';
import { type AccessToken, ExchangeFault, resourceServer } from 'gatehouse/resource-server';
import type { ClientSettings } from './gatehouse.ts';
import { callNext } from './next-api.ts';
import { PICTURE_NAMES } from './pictures.ts';
import { listenOn, stopping, whenStartedDirectly } from './settings.ts';
import { type Told, toldBy } from './story.ts';

/** What the API keeps of a photo; `object` is the picture's name in the storage. */
interface Photo {
  readonly id: string;
  readonly title: string;
  readonly place: string;
  readonly object: string;
}

const DEMO_ALBUM: readonly Photo[] = [
  { id: '1', title: 'First light', place: 'Above the pass', object: 'first-light' },
  { id: '2', title: 'Not a breath of wind', place: 'Upper lake', object: 'still-lake' },
  { id: '3', title: 'We stayed up', place: 'Cabin road', object: 'northern-lights' },
  { id: '4', title: 'Forty degrees', place: 'The great sand sea', object: 'dunes' },
  { id: '5', title: 'Last boat home', place: 'Old harbour', object: 'harbour' },
  { id: '6', title: 'From the roof', place: 'Downtown', object: 'city-night' },
  { id: '7', title: 'Morning walk', place: 'Spruce hill', object: 'spruce-mist' },
  { id: '8', title: 'Lunch break', place: 'Green valley', object: 'green-valley' },
  { id: '9', title: 'Snowed in', place: 'Cabin road', object: 'snowfall' },
];

const MAX_ALBUM = 50;

export interface PhotosApiSettings extends ClientSettings {
  readonly port: number;
  /** This API's identifier, which access tokens must name. */
  readonly resource: string;
  /** Where the storage API is, which is its identifier too. */
  readonly storageApi: string;
  /** Origins of the web pages whose scripts may call this API. */
  readonly allowedOrigins: readonly string[];
}

export async function startPhotosApi(settings: PhotosApiSettings) {
  const { issuer, port, resource, storageApi, allowedOrigins } = settings;
  // On behalf of whoever called: the storage learns for whom, and through whom.
  const fetchFromStorage = callNext(settings, storageApi, 'storage.read');

  // Every user, and the batch job as well, finds the same small album; what one adds, only that one sees.
  const added = new Map<string, Photo[]>();
  const albumOf = (owner: string) => [...DEMO_ALBUM, ...(added.get(owner) ?? [])];

  async function fromStorage(accessToken: AccessToken, path: string): Promise<string> {
    const response = await fetchFromStorage(accessToken, path);
    if (!response.ok) throw new Error(`the storage answered ${response.status}`);
    return response.text();
  }

  const app = Fastify(stopping);
  await app.register(resourceServer, {
    issuer,
    resource,
    token: { kind: 'jwt' },
    metadata: { resource_name: 'Photos' },
  });

  // CORS: a script of these origins may call and read the answer. No cookies are involved, so a page elsewhere gains
  // nothing by calling: it has no token.
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    reply.header('vary', 'Origin');
    if (origin === undefined || !allowedOrigins.includes(origin)) return;
    reply.headers({
      'access-control-allow-origin': origin,
      'access-control-expose-headers': 'WWW-Authenticate, DPoP-Nonce',
    });
  });
  app.options('/photos', async (_request, reply) => {
    reply.headers({
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'Authorization, Content-Type, DPoP',
      'access-control-max-age': '600',
    });
    return reply.code(204).send();
  });

  // onRequest, so that a request without a good token is refused before its body is read.
  const reading = { onRequest: app.requireScope('photos.read') };
  app.get('/photos', reading, async ({ accessToken }, reply) =>
    answer(reply, async () => {
      const photos = albumOf(accessToken.sub).map(async (photo) => {
        const picture = await fromStorage(accessToken, `/objects/${encodeURIComponent(photo.object)}`);
        return { ...photo, picture };
      });
      return { photos: await Promise.all(photos) };
    }),
  );
  app.get('/story', reading, async ({ accessToken }, reply) =>
    answer(reply, async () => {
      const { told } = JSON.parse(await fromStorage(accessToken, '/story')) as { told: Told[] };
      return { told: [toldBy('Photos API', accessToken), ...told] };
    }),
  );

  /** A refused exchange with `invalid_request` is the caller's: its token has ended. All else is ours. */
  async function answer(reply: FastifyReply, make: () => Promise<unknown>): Promise<unknown> {
    reply.header('cache-control', 'no-store');
    try {
      return await make();
    } catch (error) {
      if (error instanceof ExchangeFault && error.code === 'invalid_request')
        return reply
          .code(401)
          .header('www-authenticate', 'Bearer error="invalid_token"')
          .send({ error: 'invalid_token' });
      console.error('The storage could not be read:', error instanceof Error ? error.message : error);
      return reply.code(502).send({ error: 'storage_unavailable' });
    }
  }

  const newPhoto = {
    type: 'object',
    required: ['title', 'object'],
    properties: {
      title: { type: 'string', minLength: 1, maxLength: 80 },
      place: { type: 'string', maxLength: 80, default: '' },
      object: { type: 'string', enum: PICTURE_NAMES },
    },
  };
  app.post<{ Body: Omit<Photo, 'id'> }>(
    '/photos',
    { onRequest: app.requireScope('photos.write'), schema: { body: newPhoto } },
    async (request, reply) => {
      const { sub } = request.accessToken;
      if (albumOf(sub).length >= MAX_ALBUM) return reply.code(409).send({ error: 'album_full' });
      const { title, place, object } = request.body;
      const photo: Photo = { id: randomUUID(), title, place, object };
      added.set(sub, [...(added.get(sub) ?? []), photo]);
      return reply.code(201).send(photo);
    },
  );

  await app.listen({ host: listenOn, port });
  return { close: () => app.close() };
}

await whenStartedDirectly(import.meta.url, async ({ photosApi }) => {
  await startPhotosApi(photosApi);
  console.log(`The photos API listens at ${photosApi.resource}`);
});
