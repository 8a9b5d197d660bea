/**
 * Who takes part: people, APIs and clients, the same at every server. Gatehouse makes the secrets, and oidc-provider is told
 * them.
 */
import { generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';

/** Signed access tokens. */
export const PHOTOS = 'https://photos.example';
/** Opaque access tokens. */
export const STORAGE = 'https://storage.example';
/** Signed ones, got by exchange. */
export const ARCHIVE = 'https://archive.example';
export const REDIRECT = 'https://web.example/callback';
export const PASSWORD = 'correct horse battery staple';

/** Seconds; the longest Gatehouse gives, so that no token of a run ends before it. */
export const ACCESS_TOKEN_LIFETIME = 3600;
/** Seconds, as in Gatehouse's profile. */
export const LIFETIMES = { code: 60, idToken: 300, refreshToken: 14 * 86_400, session: 12 * 3600, grant: 90 * 86_400 };

export const EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** A key pair of a client. */
export interface ClientKey {
  readonly privateKey: KeyObject;
  readonly publicJwk: JsonWebKey & { kid: string };
}

export function makeKey(kid: string): ClientKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, publicJwk: { ...publicKey.export({ format: 'jwk' }), kid } };
}

const CODE = { redirect_uris: [REDIRECT], grant_types: ['authorization_code', 'refresh_token'] };

/** RFC 7591 metadata. Those of one API each; what differs between servers is added by them. */
export function clientMetadata(key: ClientKey): readonly ({ client_id: string } & Record<string, unknown>)[] {
  const machine = { grant_types: ['client_credentials'], redirect_uris: [] };
  return [
    { client_id: 'batch', ...machine, scope: 'photos.read storage.read' },
    { client_id: 'storage-api', ...machine, scope: 'photos.read' },
    { client_id: 'web', ...CODE, scope: 'openid photos.read', id_token_signed_response_alg: 'ES256' },
    { client_id: 'web-rs256', ...CODE, scope: 'openid photos.read', id_token_signed_response_alg: 'RS256' },
    {
      client_id: 'spa',
      ...CODE,
      scope: 'openid photos.read',
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: 'ES256',
    },
    {
      client_id: 'keyed',
      ...CODE,
      scope: 'openid photos.read',
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [{ ...key.publicJwk, alg: 'ES256' }] },
      dpop_bound_access_tokens: true,
      id_token_signed_response_alg: 'ES256',
    },
  ];
}

export interface Cast {
  readonly key: ClientKey;
  /** By client id; those without a secret are not there. */
  readonly secrets: ReadonlyMap<string, string>;
  /** One for each connection; the id of their account is that at Gatehouse. */
  readonly people: readonly { readonly username: string; readonly id: string }[];
}

/** @throws Error when the cast has no such client, or it has no secret */
export function credentialsOf({ secrets }: Cast, id: string): { id: string; secret: string } {
  const secret = secrets.get(id);
  if (secret === undefined) throw new Error(`No secret of ${id}.`);
  return { id, secret };
}
