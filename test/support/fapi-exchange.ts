/**
 * A call from API to API over our own TLS, where whoever is in it authenticates with a key and has its tokens bound to one, each in a way of
 * its own: alice → app → photos → storage → archive, under any profile. Photos and archive take JWTs, storage opaque tokens.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import type { CertificateFiles } from './certificate.ts';
import { clientKey } from './client-key.ts';
import { ACCESS_TOKEN, APIS, type Api } from './exchange-world.ts';
import { CALLBACK, type Fapi, startFapi, usesCertificates, type Variant } from './fapi-certification.ts';
import { getCode, redeem } from './fapi-flow.ts';
import { type Answer, send } from './fapi-requests.ts';
import { proofKey } from './proof-key.ts';
import { heardOf } from './server.ts';
import { exchangePolicy } from './trust-world.ts';

/** By what a party authenticates, and to what its tokens are bound. */
export const WAYS = {
  'key-dpop': { authentication: 'private_key_jwt', constraint: 'dpop' },
  'key-cert': { authentication: 'private_key_jwt', constraint: 'mtls' },
  'cert-dpop': { authentication: 'mtls', constraint: 'dpop' },
  'cert-cert': { authentication: 'mtls', constraint: 'mtls' },
} as const;
export type WayName = keyof typeof WAYS;
export const WAY_NAMES = Object.keys(WAYS) as WayName[];

/** The world as one of its parties has it: its client, and its way in the variant. */
export type Party = Fapi;

export interface FapiExchange {
  readonly op: Fapi;
  /** Who has alice's first token, by the way it is bound. */
  readonly apps: Readonly<Record<'key-dpop' | 'cert-cert', Party>>;
  /** Each API as four clients. */
  readonly apis: Readonly<Record<Api, Readonly<Record<WayName, Party>>>>;
  party(id: string, way: WayName, metadata?: Record<string, unknown>): Promise<Party>;
  close(): Promise<void>;
}

const NAMES = Object.keys(APIS) as Api[];
const NEXT: Readonly<Record<Api, Api>> = { photos: 'storage', storage: 'archive', archive: 'photos' };
const SIGNED_RESPONSES = { introspection_signed_response_alg: 'PS256' };
const SIGNED_REQUESTS = { require_signed_request_object: true, request_object_signing_alg: 'ES256' };

export async function startFapiExchange(profile: Variant['profile']): Promise<FapiExchange> {
  const signing = profile === 'fapi2-message-signing';
  const parts = { openid: true, ownPort: true, signed: signing, jarm: signing };
  const op = await startFapi({ profile, ...WAYS['key-dpop'], ...parts });

  const party: FapiExchange['party'] = async (id, way, metadata = {}) => {
    const variant = { ...op.variant, ...WAYS[way] };
    const byCertificate = variant.authentication === 'mtls';
    const [key, certificate] = [await clientKey('ES256', `${id}-key`), await op.issued(id)];
    await op.server.client({
      client_id: id,
      client_name: id,
      grant_types: [TOKEN_EXCHANGE],
      token_endpoint_auth_method: byCertificate ? 'tls_client_auth' : 'private_key_jwt',
      ...(byCertificate && { tls_client_auth_subject_dn: `CN=${id},O=Suite,C=DE` }),
      ...((!byCertificate || signing) && { jwks: { keys: [key.jwk] } }),
      [variant.constraint === 'dpop' ? 'dpop_bound_access_tokens' : 'tls_client_certificate_bound_access_tokens']: true,
      ...(signing && SIGNED_RESPONSES),
      ...metadata,
    });
    const own = usesCertificates(variant) ? op.fetchAs(certificate) : op.fetch;
    const client = { id, redirectUri: CALLBACK, key, certificate, proofKey: await proofKey(), fetch: own };
    return { ...op, variant, client };
  };
  const app = (id: string, way: WayName) =>
    party(id, way, {
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials', TOKEN_EXCHANGE],
      scope: 'openid photos.read photos.write storage.read',
      ...(signing && { ...SIGNED_REQUESTS, response_modes: ['jwt'] }),
    });
  const each = async <Name extends string, Value>(names: readonly Name[], make: (name: Name) => Promise<Value>) =>
    Object.fromEntries(await Promise.all(names.map(async (name) => [name, await make(name)]))) as Record<Name, Value>;

  const apps = { 'key-dpop': await app('dpop-app', 'key-dpop'), 'cert-cert': await app('cert-app', 'cert-cert') };
  const apis = await each(NAMES, (api) => each(WAY_NAMES, (way) => party(`${api}-${way}`, way)));
  for (const api of NAMES)
    await op.server.resource({
      resource: APIS[api],
      name: api,
      scopes: { [`${api}.read`]: `Read your ${api}`, [`${api}.write`]: `Change your ${api}` },
      access_token_format: api === 'storage' ? 'opaque' : 'jwt',
      introspection_clients: WAY_NAMES.map((way) => apis[api][way].client.id),
    });
  for (const api of NAMES) {
    const [source, target] = [APIS[api], APIS[NEXT[api]]];
    const scopes = { [`${api}.read`]: [`${NEXT[api]}.read`] };
    const holders = api === 'photos' ? Object.values(apps) : [];
    for (const { client } of [...Object.values(apis[api]), ...holders])
      await exchangePolicy(op.server, { name: `${client.id}-${NEXT[api]}`, client: client.id, source, target, scopes });
  }
  return { op, apps, apis, party, close: () => op.close() };
}

/** Alice's first token, for the photos API: pushed, signed in, allowed, redeemed as the profile has it. */
export async function firstToken(app: Party): Promise<string> {
  const asked = await getCode(app, { parameters: { scope: 'openid photos.read photos.write' } });
  return tokenOf(await redeem(app, asked, { fields: { resource: APIS.photos } }));
}

/** Asks for the next token; `undefined` removes a default. */
export function exchangeAs(
  party: Party,
  subjectToken: string,
  fields: Record<string, string | undefined>,
  sending: Parameters<typeof send>[3] = {},
): Promise<Answer> {
  const form = { grant_type: TOKEN_EXCHANGE, subject_token: subjectToken, subject_token_type: ACCESS_TOKEN, ...fields };
  const given = Object.entries(form).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return send(party, 'token_endpoint', Object.fromEntries(given), sending);
}

/** One step that must succeed. */
export async function stepAs(party: Party, subjectToken: string, target: string): Promise<string> {
  return tokenOf(await exchangeAs(party, subjectToken, { resource: target }));
}

export function tokenOf({ status, json }: Answer): string {
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(json)}`);
  return String(json.access_token);
}

/** What an API is told about a token, out of the signed answer where it gets one (RFC 9701 §5). */
export async function told(api: Party, token: string): Promise<Record<string, unknown>> {
  const { json } = await send(api, 'introspection_endpoint', { token });
  if (json.jwt === undefined) return json;
  const jwks = (await (await api.fetch(String(api.metadata.jwks_uri))).json()) as JSONWebKeySet;
  const { payload } = await jwtVerify(String(json.jwt), createLocalJWKSet(jwks), {
    issuer: api.server.issuer,
    audience: api.client.id,
    currentDate: api.server.clock.now(),
    algorithms: ['PS256'],
  });
  return payload.token_introspection as Record<string, unknown>;
}

/** What a party's tokens are bound to. */
export function boundTo({ variant, client }: Party): Record<string, string> {
  return variant.constraint === 'dpop' ? { jkt: client.proofKey.jkt } : thumbprintOf(client.certificate);
}

/** RFC 8705 §3.1. */
export function thumbprintOf({ cert }: CertificateFiles): Record<string, string> {
  const hex = new X509Certificate(readFileSync(cert)).fingerprint256.replaceAll(':', '');
  return { 'x5t#S256': Buffer.from(hex, 'hex').toString('base64url') };
}

/** Why the server refused a request, in its log: written once the answer has gone out. */
export async function reasonOf({ server }: Party, { headers }: Pick<Answer, 'headers'>): Promise<unknown> {
  const id = headers.get('x-request-id') ?? 'no request id';
  const logged = () => server.log.find((line) => line.includes(`"requestId":"${id}"`) && line.includes('"answered"'));
  await heardOf(async () => logged() !== undefined);
  return JSON.parse(logged() ?? '{}').reason;
}
