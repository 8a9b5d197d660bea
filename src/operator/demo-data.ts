/**
 * Demo data: two people whose passwords everybody knows, two APIs and five clients. Only `gatehouse dev` makes it, only on
 * loopback, only in a database without users; `serve` refuses a database that holds it.
 */
import { findClientRecord } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import { hasUsers, holdsDemoData, markDemoData } from '../postgres/people.pg.ts';
import { findResource } from '../postgres/resources.pg.ts';
import type { UserClaims } from '../protocol/claims.ts';
import type { ClientRecord, RegistrationRules } from '../protocol/client.ts';
import type { Context } from '../protocol/context.ts';
import { type Passwords, sha256 } from '../protocol/secrets.ts';
import { registerClient, rotateSecret } from './clients.ts';
import { type DemoSecrets, readDemoSecrets, writeDemoSecrets } from './data-folder.ts';
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

const CLIENTS = [
  {
    client_id: 'photos-web',
    client_name: 'Photos Web',
    client_uri: 'http://localhost:4000/',
    redirect_uris: ['http://localhost:4000/callback'],
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
  { client_id: 'photos-batch', client_name: 'Photos Batch', grant_types: ['client_credentials'], scope: 'photos.read' },
  { client_id: 'photos-api', client_name: 'Photos API', grant_types: ['client_credentials'], scope: 'storage.read' },
  { client_id: 'storage-api', client_name: 'Storage API', grant_types: [], scope: '' },
] as const;

export interface DemoOptions {
  readonly folder: string;
  readonly issuer: string;
  readonly rules: RegistrationRules;
  readonly passwords: Passwords;
  readonly context: Context;
}

/**
 * Makes the demo data where there is none and nobody yet.
 * @returns the demo clients' secrets, or `undefined` in a database that holds no demo data
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
      await registerResource(database, resource, rules.profile, context.now());
  }
  const secrets: Record<string, { client_secret: string }> = {};
  for (const client of CLIENTS) {
    const record = await findClientRecord(database, client.client_id);
    // Complete once, it is the operator's: what was deleted since stays deleted.
    if (!record && populated) continue;
    const known = kept?.clients[client.client_id]?.client_secret;
    const secret = record
      ? await validSecretOf(record, known, database, context)
      : (await registerClient(database, client, rules, context)).clientSecret;
    if (secret !== undefined) secrets[client.client_id] = { client_secret: secret };
  }
  const made: DemoSecrets = { issuer, clients: secrets };
  await writeDemoSecrets(folder, made);
  if (!populated) {
    for (const user of DEMO_USERS) await registerUser(database, user, { passwordMin: 1, passwords }, context);
  }
  return made;
}

/** Overlap of a secret that is made again, in seconds: another data folder may still hold the one before. */
const A_DAY = 86_400;

/** The secret this folder knows, or a new one where that is not the client's (any more). */
async function validSecretOf(
  record: ClientRecord,
  known: string | undefined,
  database: Sql,
  context: Context,
): Promise<string | undefined> {
  if (record.metadata.token_endpoint_auth_method === 'none') return undefined;
  const valid = (secret: ClientRecord['secrets'][number]) =>
    secret.expiresAt === null && secret.hash.equals(sha256(known ?? ''));
  return record.secrets.some(valid) ? known : (await rotateSecret(database, record.id, A_DAY, context)).value;
}
