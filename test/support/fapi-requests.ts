/**
 * Requests of the FAPI plans' clients to the server, good but for what is said, and what all its answers must be like.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  CompactSign,
  createLocalJWKSet,
  decodeProtectedHeader,
  exportJWK,
  importJWK,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
} from 'jose';
import { expect } from 'vitest';
import type { ClientKey } from './client-key.ts';
import { FAPI_ALGS, type Fapi, type FapiClient, usesCertificates } from './fapi-certification.ts';
import { type ProofKey, type ProofOptions, proofFor } from './proof-key.ts';

export type Answer = { readonly status: number; readonly headers: Headers; readonly json: Record<string, unknown> };

/** Where a client finds an endpoint: at its alias for clients with certificates, where the variant uses them (RFC 8705 §5). */
export function endpoint({ metadata, variant }: Fapi, name: string): string {
  const aliases = (metadata.mtls_endpoint_aliases ?? {}) as Record<string, string>;
  const alias = usesCertificates(variant) ? aliases[name] : undefined;
  return alias ?? String(metadata[name]);
}

export const seconds = ({ server }: Fapi) => Math.floor(server.clock.now().getTime() / 1000);

export interface Assertion {
  /** Over the right ones; `undefined` leaves one out. */
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
}

/** A client assertion, good but for what is said. */
export function assertion(op: Fapi, { id, key }: FapiClient, { claims, header }: Assertion = {}): Promise<string> {
  const now = seconds(op);
  const all = {
    iss: id,
    sub: id,
    aud: op.server.issuer,
    jti: randomUUID(),
    iat: now,
    nbf: now,
    exp: now + 60,
    ...claims,
  };
  return key.sign(withoutUndefined(all), header);
}

export function withoutUndefined<Value>(record: Record<string, Value>): Record<string, Exclude<Value, undefined>> {
  const pairs = Object.entries(record).filter(([, value]) => value !== undefined);
  return Object.fromEntries(pairs) as Record<string, Exclude<Value, undefined>>;
}

/** The same key, used for the algorithm that the profile forbids: nothing but that is wrong. */
export async function asRs256({ jwk, privateKey }: ClientKey): Promise<ClientKey> {
  const key = await importJWK(await exportJWK(privateKey), 'RS256');
  return {
    alg: 'RS256',
    jwk,
    privateKey,
    sign: (claims, header) =>
      new CompactSign(Buffer.from(JSON.stringify(claims)))
        .setProtectedHeader({ alg: 'RS256', kid: jwk.kid, ...header })
        .sign(key),
  };
}

/** The same JWS with another signature. */
export function spoilt(jws: string): string {
  const at = jws.lastIndexOf('.') + 1;
  return `${jws.slice(0, at)}${jws[at] === 'A' ? 'B' : 'A'}${jws.slice(at + 1)}`;
}

/** A DPoP proof for one request, with the last nonce from there, good but for what is said. */
export function proof(
  op: Fapi,
  key: ProofKey,
  method: string,
  address: string,
  { claims, ...rest }: ProofOptions = {},
): Promise<string> {
  const nonce = op.nonces.get(nonceGiver(method, address));
  const own = { htu: address, ...(nonce !== undefined && { nonce }) };
  return proofFor(op.server, key, [method, ''], { ...rest, claims: { ...own, ...claims } });
}

/** The endpoints for clients have nonces in common, each resource has its own (RFC 9449 §8.2, §9). */
function nonceGiver(method: string, address: string): string {
  return method === 'POST' ? new URL(address).origin : address;
}

/** Keeps a nonce that came along, for the next proof; two of them in one answer would show as one that is none. */
export function keepNonce(op: Fapi, method: string, address: string, { headers }: Pick<Response, 'headers'>): void {
  const nonce = headers.get('dpop-nonce');
  if (nonce === null) return;
  expect(nonce).toMatch(/^[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+$/);
  op.nonces.set(nonceGiver(method, address), nonce);
}

export interface Sending {
  readonly client?: FapiClient;
  /** What authenticates the client; made when left out, `{}` for nothing. */
  readonly authentication?: Record<string, string>;
  /**
   * The DPoP header: as it is, none, or one made with these options, and made again with a nonce where the answer demands one.
   * Made when left out where the variant binds tokens with it.
   */
  readonly dpop?: string | null | ProofOptions;
  /** Another `fetch`, e.g. without the client's certificate. */
  readonly fetch?: typeof fetch;
}

/** A POST to one of the endpoints for clients, authenticated as the variant has it. */
export async function send(
  op: Fapi,
  name: string,
  fields: Record<string, string>,
  { client = op.client, dpop, fetch: fetcher = client.fetch, ...sending }: Sending = {},
): Promise<Answer> {
  const address = endpoint(op, name);
  const proven = dpop === undefined && name === 'token_endpoint' && op.variant.constraint === 'dpop';
  const given = proven ? {} : dpop;
  const isMade = typeof given === 'object' && given !== null;
  const once = async () => {
    const { authentication = await authenticationOf(op, client) } = sending;
    const header = isMade ? await proof(op, client.proofKey, 'POST', address, given) : given;
    const response = await fetcher(address, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
        ...(typeof header === 'string' && { dpop: header }),
      },
      body: new URLSearchParams({ ...authentication, ...fields }).toString(),
    });
    keepNonce(op, 'POST', address, response);
    return answerOf(response);
  };
  const answer = await once();
  return answer.json.error === 'use_dpop_nonce' && isMade ? once() : answer;
}

export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const { status, headers } = response;
  // RFC 9701 §5: a signed answer is nothing but the JWT.
  if (headers.get('content-type') === 'application/token-introspection+jwt')
    return { status, headers, json: { jwt: text } };
  return { status, headers, json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
}

/** With a certificate `client_id` says whose it is; an assertion says it by itself. */
export async function authenticationOf(
  op: Fapi,
  client: FapiClient,
  how: Assertion = {},
): Promise<Record<string, string>> {
  if (op.variant.authentication === 'mtls') return { client_id: client.id };
  return {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await assertion(op, client, how),
  };
}

/** A refusal as the suite wants it: one of these codes in JSON, 400, or 401 with `invalid_client` only. */
export function expectRefusal({ status, headers, json }: Answer, ...codes: string[]): void {
  expect({ status, json }).toMatchObject({ json: { error: expect.toSatisfy((code) => codes.includes(code)) } });
  expect(json.error === 'invalid_client' ? [400, 401] : [400]).toContain(status);
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  expect(json.error_description ?? '').toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]*$/);
}

/** A JWT of the server, verified with its published keys, by an algorithm of the profile. */
export async function verified(op: Fapi, jwt: string, client: FapiClient): Promise<JWTPayload> {
  const jwks = (await (await op.fetch(String(op.metadata.jwks_uri))).json()) as JSONWebKeySet;
  const { alg, kid } = decodeProtectedHeader(jwt);
  expect(FAPI_ALGS).toContain(alg);
  expect(kid).toEqual(expect.any(String));
  const { payload } = await jwtVerify(jwt, createLocalJWKSet(jwks), {
    issuer: op.server.issuer,
    audience: client.id,
    currentDate: op.server.clock.now(),
  });
  return payload;
}

/** What is handed out is long enough, and random enough, not to be guessed. */
export function expectUnguessable(value: unknown): void {
  const text = String(value);
  expect(text.length).toBeGreaterThanOrEqual(22);
  const frequencies = [...new Set(text)].map((character) => (text.split(character).length - 1) / text.length);
  const entropy = frequencies.reduce((sum, share) => sum - share * Math.log2(share), 0) * text.length;
  expect(entropy).toBeGreaterThan(96);
}

export const randomText = (length: number) => randomBytes(length).toString('base64url').slice(0, length);

/** Works at a later time, and comes back: the API has a clock of its own. */
export async function later<Result>({ server }: Fapi, by: number, work: () => Promise<Result>): Promise<Result> {
  server.clock.advance(by);
  try {
    return await work();
  } finally {
    server.clock.advance(-by);
  }
}
