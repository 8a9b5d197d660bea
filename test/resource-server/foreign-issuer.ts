/**
 * A small authorization server that is not Gatehouse: the foreign party of these tests, over real HTTP, with keys made by
 * jose. It serves metadata (RFC 8414), a JWKS and introspection (RFC 7662), counts what it is asked, and can be made to
 * answer wrongly, late or not at all.
 */
import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTHeaderParameters,
  jwtVerify,
  SignJWT,
} from 'jose';

/** A signing key of the issuer and what its JWKS says of it. */
export interface IssuerKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

export async function makeKey(alg: string): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const kid = randomUUID();
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

const SIGNED_ANSWER = 'application/token-introspection+jwt';

/** How the issuer behaves from now on: as it should, with a 500, or silent on an open connection. */
export type Mood = 'well' | 'failing' | 'silent';

export class ForeignIssuer {
  readonly #server: Server;
  readonly issuer: string;
  readonly client = { clientId: 'photos:api', clientSecret: 'a secret/with+odd&signs%' };
  readonly introspected = new Map<string, Record<string, unknown>>();
  /** How often each path was asked for. */
  readonly asked = new Map<string, number>();
  /** The last introspection request's body and headers. */
  lastIntrospection: URLSearchParams | undefined;
  lastHeaders: IncomingHttpHeaders = {};
  /** Asked for signed answers (RFC 9701), what it does instead of making good ones. */
  signAnswer: ((answer: Record<string, unknown>) => Promise<{ type: string; body: string }>) | undefined;
  /** The public key of a client that authenticates with a private one (RFC 7523). */
  clientKey: JWK | undefined;
  /** Members that replace those of the metadata. */
  metadata: Record<string, unknown> = {};
  keys: IssuerKey[];
  /** Endpoints that a test adds, by path without query. */
  readonly endpoints = new Map<string, RequestListener>();
  mood: Mood = 'well';

  private constructor(server: Server, path: string, keys: IssuerKey[]) {
    this.#server = server;
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
    this.keys = keys;
  }

  /** @param path of the issuer identifier, empty or starting with a slash */
  static async start(path = ''): Promise<ForeignIssuer> {
    let answer: RequestListener = () => {};
    const server = createServer((request, response) => answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = new ForeignIssuer(server, path, [await makeKey('ES256')]);
    answer = (request, response) => {
      issuer.#answer(request, response).catch((error) => response.destroy(error));
    };
    return issuer;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  times(path: string): number {
    return this.asked.get(path) ?? 0;
  }

  /** The claims of a good access token for `resource`. */
  claims(resource: string): Record<string, unknown> {
    const now = Math.floor(Date.now() / 1000);
    return {
      iss: this.issuer,
      aud: resource,
      sub: 'alice',
      client_id: 'photos-web',
      scope: 'photos.read other',
      iat: now,
      exp: now + 300,
      jti: randomUUID(),
    };
  }

  /** Signs claims as an access token; `header` replaces single members. */
  async sign(claims: Record<string, unknown>, header: Record<string, unknown> = {}, key = this.keys[0]) {
    if (key === undefined) throw new Error('the issuer has no key');
    return new SignJWT(claims)
      .setProtectedHeader({ typ: 'at+jwt', alg: key.alg, kid: key.kid, ...header } as JWTHeaderParameters)
      .sign(key.privateKey);
  }

  /** A signed introspection answer (RFC 9701 §5); `claims` and `header` replace single members. */
  answer(answer: Record<string, unknown>, claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) {
    const now = Math.floor(Date.now() / 1000);
    const own = { iss: this.issuer, aud: this.client.clientId, iat: now, token_introspection: answer };
    return this.sign({ ...own, ...claims }, { typ: 'token-introspection+jwt', ...header });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    this.asked.set(path, this.times(path) + 1);
    if (this.mood === 'silent') return;
    if (this.mood === 'failing') return void response.writeHead(500).end();

    const added = this.endpoints.get(path.replace(/\?.*/, ''));
    if (added !== undefined) return added(request, response);

    const { origin, pathname } = new URL(this.issuer);
    const json = (status: number, value: unknown) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

    if (path === `/.well-known/oauth-authorization-server${pathname === '/' ? '' : pathname}`) {
      return json(200, {
        issuer: this.issuer,
        jwks_uri: `${origin}/jwks`,
        introspection_endpoint: `${origin}/introspection`,
        ...this.metadata,
      });
    }
    if (path === '/jwks' || path === '/other-jwks') return json(200, { keys: this.keys.map((key) => key.publicJwk) });
    if (path === '/introspection' && request.method === 'POST') {
      const body = new URLSearchParams((await request.toArray()).join(''));
      this.lastIntrospection = body;
      this.lastHeaders = request.headers;
      const isClient = this.#isClient(request.headers.authorization) || (await this.#isKeyClient(body));
      if (!isClient) return json(401, { error: 'invalid_client' });
      const answer = this.introspected.get(body.get('token') ?? '') ?? { active: false };
      if (request.headers.accept !== SIGNED_ANSWER) return json(200, answer);
      const signed = this.signAnswer?.(answer) ?? { type: SIGNED_ANSWER, body: await this.answer(answer) };
      const { type, body: text } = await signed;
      return void response.writeHead(200, { 'content-type': type }).end(text);
    }
    if (path === '/moved') return void response.writeHead(307, { location: '/introspection' }).end();
    if (path === '/huge') return json(200, { active: true, filler: 'x'.repeat(100_000) });
    if (path === '/torn') return json(500, { active: true, ...this.claims('https://photos.example') });
    if (path === '/mute') return json(200, {});
    json(404, {});
  }

  /** RFC 7523 §3, with the issuer as the only audience. */
  async #isKeyClient(body: URLSearchParams): Promise<boolean> {
    if (this.clientKey === undefined) return false;
    if (body.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') return false;
    const { clientId } = this.client;
    const key = await importJWK(this.clientKey, this.clientKey.alg);
    const { payload } = await jwtVerify(body.get('client_assertion') ?? '', key, {
      issuer: clientId,
      subject: clientId,
      requiredClaims: ['exp', 'jti'],
    });
    return payload.aud === this.issuer;
  }

  /** RFC 6749 §2.3.1, read the strict way round: decode, split, form-decode, compare. */
  #isClient(authorization = ''): boolean {
    const pair = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString();
    const [id, secret, ...rest] = pair.split(':').map((part) => decodeURIComponent(part.replaceAll('+', ' ')));
    return id === this.client.clientId && secret === this.client.clientSecret && rest.length === 0;
  }
}
