/** Values of the kernel for tests of its rules: made by its own parsers, each field changeable. */
import { randomBytes } from 'node:crypto';
import { features } from '../../src/features.ts';
import type { Sql } from '../../src/postgres/database.ts';
import type { Authorization } from '../../src/protocol/authorization.ts';
import { NO_CLAIMS } from '../../src/protocol/claims-request.ts';
import { type Client, type RegistrationRules, toClient } from '../../src/protocol/client.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { assemble, registrationRules } from '../../src/protocol/registries.ts';
import { Resources, resourceMetadata, toResource } from '../../src/protocol/resource.ts';
import { Passwords } from '../../src/protocol/secrets.ts';

export const ISSUER = 'https://gate.example';
export const PHOTOS = 'https://photos.example';
export const STORAGE = 'https://storage.example';

/** A client as the protocol sees it, from registered metadata. */
export function clientOf(metadata: Record<string, unknown> = {}): Client {
  return toClient({
    id: 'client',
    metadata: {
      redirect_uris: ['https://app.example/callback'],
      response_types: ['code'],
      scope: 'openid profile offline_access photos.read photos.write storage.read',
      ...metadata,
    },
    secrets: [],
    disabled: false,
    logoUrl: undefined,
  });
}

/** A photos API with JWTs, a storage API with opaque tokens. */
export function someResources(): Resources {
  return new Resources(
    [
      { resource: PHOTOS, name: 'Photos', scopes: { 'photos.read': 'See', 'photos.write': 'Add' } },
      { resource: STORAGE, name: 'Storage', scopes: { 'storage.read': 'Read' }, access_token_format: 'opaque' },
    ].map((resource) => toResource(resourceMetadata.parse(resource))),
  );
}

export function authorizationOf(changes: Partial<Authorization> = {}): Authorization {
  return {
    grantId: undefined,
    client: clientOf(),
    user: undefined,
    authentication: undefined,
    signInId: undefined,
    claims: NO_CLAIMS,
    scope: [],
    resources: [],
    authorizationDetails: [],
    nonce: undefined,
    expiresAt: undefined,
    ...changes,
  };
}

/** What may be registered with everything this version offers. */
export function rulesOfEverything(): RegistrationRules {
  const parts = {
    // Registering reads no database.
    database: undefined as unknown as Sql,
    profile: oauth21,
    passwords: new Passwords(),
    cookieKeys: [],
    encryption: new KeyEncryption([randomBytes(32)], randomBytes),
    sessionManagement: true,
    dpopNonce: false,
    mutualTls: { authorities: true, aliasOrigin: undefined },
    allowLoopbackFetch: false,
  };
  return registrationRules(
    assemble(
      features.map((line) => line(parts)),
      oauth21,
    ),
    oauth21,
  );
}
