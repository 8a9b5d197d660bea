/**
 * Demo data: two people whose passwords everybody knows, three APIs (demo-exchange.ts has the third), and the clients that the profile
 * allows: six with a secret or none, or one with a key of its own. Only `gatehouse dev` makes it, only on loopback, only in a database without users;
 * `serve` refuses a database that holds it.
 */
import { findClientRecord, isClientIdTaken } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import { hasUsers, holdsDemoData, markDemoData } from '../postgres/people.pg.ts';
import { findResource } from '../postgres/resources.pg.ts';
import type { UserClaims } from '../protocol/claims.ts';
import { type ClientRecord, hasSecret, type RegistrationRules, toClient } from '../protocol/client.ts';
import type { JsonWebKeySet } from '../protocol/client-keys.ts';
import type { Context } from '../protocol/context.ts';
import { TOKEN_EXCHANGE } from '../protocol/exchanges.ts';
import { generateSigningKey } from '../protocol/jose.ts';
import { type Passwords, sha256 } from '../protocol/secrets.ts';
import { changeClient, registerClient, rotateSecret } from './clients.ts';
import { type DemoCredential, type DemoSecrets, readDemoSecrets, writeDemoSecrets } from './data-folder.ts';
import { ensureDemoExchange } from './demo-exchange.ts';
import { registerResource } from './resources.ts';
import { registerUser } from './users.ts';

const UPDATED_AT = Date.UTC(2026, 0, 1) / 1000;

/** Every standard claim, so that each scope has something to show. */
function claims(
  person: Pick<
    UserClaims,
    'name' | 'given_name' | 'family_name' | 'nickname' | 'gender' | 'birthdate' | 'phone_number'
  >,
): UserClaims {
  const site = `https://people.example/${person.nickname}`;
  return {
    ...person,
    middle_name: 'Demo',
    preferred_username: person.nickname,
    profile: site,
    picture: `${site}.png`,
    website: site,
    zoneinfo: 'Europe/Berlin',
    locale: 'en-GB',
    updated_at: UPDATED_AT,
    email: `${person.nickname}@people.example`,
    email_verified: true,
    phone_number_verified: false,
    address: {
      formatted: '1 Garden Lane\nOxford OX1 2AB\nUnited Kingdom',
      street_address: '1 Garden Lane',
      locality: 'Oxford',
      region: 'Oxfordshire',
      postal_code: 'OX1 2AB',
      country: 'United Kingdom',
    },
  };
}

export const DEMO_USERS = [
  {
    username: 'alice',
    password: 'wonderland',
    claims: claims({
      name: 'Alice Liddell',
      given_name: 'Alice',
      family_name: 'Liddell',
      nickname: 'alice',
      gender: 'female',
      birthdate: '1992-05-04',
      phone_number: '+44 1865 000001',
    }),
  },
  {
    username: 'bob',
    password: 'builder',
    claims: claims({
      name: 'Bob Fischer',
      given_name: 'Bob',
      family_name: 'Fischer',
      nickname: 'bob',
      gender: 'male',
      birthdate: '1988-11-28',
      phone_number: '+44 1865 000002',
    }),
  },
] as const;

const PHOTOS = {
  resource: 'http://localhost:4001',
  name: 'Photos',
  scopes: { 'photos.read': 'See your photos', 'photos.write': 'Add photos and change them' },
  access_token_format: 'jwt',
  introspection_clients: ['photos-api'],
} as const;

const STORAGE = {
  resource: 'http://localhost:4002',
  name: 'Storage',
  scopes: { 'storage.read': 'Read your stored files' },
  access_token_format: 'opaque',
  introspection_clients: ['storage-api'],
} as const;

const PERSONAL = 'openid profile email address phone offline_access';

interface DemoClient extends Readonly<Record<string, unknown>> {
  readonly client_id: string;
  readonly token_endpoint_auth_method: string;
}

const CLIENTS: readonly DemoClient[] = [
  {
    client_id: 'photos-web',
    client_name: 'Photos Web',
    client_uri: 'http://localhost:4000/',
    redirect_uris: ['http://localhost:4000/callback'],
    token_endpoint_auth_method: 'client_secret_basic',
    post_logout_redirect_uris: ['http://localhost:4000/'],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: `${PERSONAL} photos.read photos.write storage.read`,
  },
  {
    client_id: 'photos-spa',
    client_name: 'Photos in the Browser',
    client_uri: 'http://localhost:4000/spa',
    redirect_uris: ['http://localhost:4000/spa/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
    scope: `${PERSONAL} photos.read`,
  },
  {
    client_id: 'photos-batch',
    client_name: 'Photos Batch',
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'client_secret_basic',
    scope: 'photos.read',
  },
  {
    client_id: 'photos-api',
    client_name: 'Photos API',
    grant_types: [TOKEN_EXCHANGE],
    token_endpoint_auth_method: 'client_secret_basic',
    scope: '',
  },
  {
    client_id: 'storage-api',
    client_name: 'Storage API',
    grant_types: [TOKEN_EXCHANGE],
    token_endpoint_auth_method: 'client_secret_basic',
    scope: '',
  },
];

/** The last one to be made: {@link ensureDemoExchange}. */
const ARCHIVE_CLIENT: DemoClient = {
  client_id: 'archive-api',
  client_name: 'Archive API',
  grant_types: [],
  token_endpoint_auth_method: 'client_secret_basic',
  scope: '',
};

/** Under a profile that binds tokens to keys: a client that shares no secret with anybody. */
const FAPI_CLIENT: DemoClient = {
  client_id: 'photos-fapi',
  client_name: 'Photos without Secrets',
  application_type: 'native', // which may have an http redirect URI, on loopback, and vary its port
  redirect_uris: ['http://127.0.0.1:4003/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: 'ES256',
  dpop_bound_access_tokens: true,
  scope: `${PERSONAL} photos.read photos.write storage.read`,
};

export interface DemoOptions {
  readonly folder: string;
  readonly issuer: string;
  readonly rules: RegistrationRules;
  readonly passwords: Passwords;
  readonly context: Context;
}

/**
 * Makes the demo data where there is none and nobody yet.
 * @returns what the demo clients prove themselves with, or `undefined` in a database that holds no demo data
 */
export async function ensureDemoData(database: Sql, options: DemoOptions): Promise<DemoSecrets | undefined> {
  const { folder, issuer, rules, passwords, context } = options;
  const demo = await holdsDemoData(database);
  const populated = await hasUsers(database);
  if (!demo && populated) return undefined;
  const kept = await readDemoSecrets(folder);
  // The mark comes first and the people last: whatever is interrupted here is begun again and never served.
  await markDemoData(database, context.now());
  for (const resource of populated ? [] : [PHOTOS, STORAGE]) {
    if (!(await findResource(database, resource.resource)))
      await registerResource(database, resource, { profile: rules.profile, issuer }, context.now());
  }
  const clients: Record<string, DemoCredential> = {};
  for (const client of demoClients(rules)) {
    const isFirstTime = !populated || !(await isClientIdTaken(database, ARCHIVE_CLIENT.client_id));
    if (client === ARCHIVE_CLIENT && isFirstTime)
      await ensureDemoExchange(database, { issuer, rules, now: context.now() });
    const credential = await ensureClient(client, kept?.clients[client.client_id], database, options);
    if (credential) clients[client.client_id] = credential;
  }
  const made: DemoSecrets = { issuer, clients };
  await writeDemoSecrets(folder, made);
  if (!populated) {
    for (const user of DEMO_USERS) await registerUser(database, user, { passwordMin: 1, passwords }, context);
  }
  return made;
}

/** Those that the profile allows. */
function demoClients({ profile, clientAuthenticationMethods: methods }: RegistrationRules): readonly DemoClient[] {
  const offered = [...CLIENTS, ARCHIVE_CLIENT, ...(profile.requiresSenderConstraint ? [FAPI_CLIENT] : [])];
  return offered.filter(({ token_endpoint_auth_method: method }) => methods.has(method));
}

/**
 * @param known what this folder has of it
 * @returns what it proves itself with; `undefined` of a client that proves nothing, and of one that was deleted: it stays so
 */
async function ensureClient(
  client: DemoClient,
  known: DemoCredential | undefined,
  database: Sql,
  { rules, context }: DemoOptions,
): Promise<DemoCredential | undefined> {
  const record = await findClientRecord(database, client.client_id);
  if (!record && (await isClientIdTaken(database, client.client_id))) return undefined;
  if (client.token_endpoint_auth_method === 'private_key_jwt')
    return ensureKeyOf(client, record, known, database, { rules, context });
  if (record) return hasSecret(toClient(record)) ? validSecretOf(record, known, database, context) : undefined;
  const { clientSecret } = await registerClient(database, client, rules, context);
  return clientSecret === undefined ? undefined : { client_secret: clientSecret };
}

/** The key this folder knows, or a new one where that is not the client's (any more). */
async function ensureKeyOf(
  client: DemoClient,
  record: ClientRecord | undefined,
  known: DemoCredential | undefined,
  database: Sql,
  { rules, context }: Pick<DemoOptions, 'rules' | 'context'>,
): Promise<DemoCredential> {
  const registered = (record?.metadata.jwks as JsonWebKeySet | undefined)?.keys ?? [];
  // A kid is a thumbprint here: the same one is the same key.
  const isKept = known?.private_key !== undefined && registered.some(({ kid }) => kid === known.private_key?.kid);
  const key = isKept ? undefined : await newKey();
  const changes = {
    ...(key && { jwks: { keys: [key.publicJwk] } }),
    // Where something must be signed for the record, it is the response (JARM).
    response_modes: rules.profile.requiresMessageSigning ? ['jwt'] : null,
  };
  if (record) {
    await changeClient(database, record, changes, rules, context.now());
  } else {
    const given = Object.entries({ ...client, ...changes }).filter(([, value]) => value !== null);
    await registerClient(database, Object.fromEntries(given), rules, context);
  }
  return key?.credential ?? known ?? {};
}

async function newKey() {
  const { kid, alg, privateKey, publicJwk } = await generateSigningKey('ES256');
  return { publicJwk, credential: { private_key: { ...privateKey.export({ format: 'jwk' }), kid, alg } } };
}

/** Overlap of a secret that is made again, in seconds: another data folder may still hold the one before. */
const A_DAY = 86_400;

/** The secret this folder knows, or a new one where that is not the client's (any more). */
async function validSecretOf(
  record: ClientRecord,
  known: DemoCredential | undefined,
  database: Sql,
  context: Context,
): Promise<DemoCredential> {
  const secret = known?.client_secret ?? '';
  const valid = ({ expiresAt, hash }: ClientRecord['secrets'][number]) =>
    expiresAt === null && hash.equals(sha256(secret));
  if (record.secrets.some(valid)) return { client_secret: secret };
  return { client_secret: (await rotateSecret(database, record.id, A_DAY, context)).value };
}
