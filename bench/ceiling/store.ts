/**
 * What the ceiling's routes share: a pool like Gatehouse's with named statements, credentials of the same form (an id in order
 * of time, and a 256-bit secret of which the digest is stored), and signatures made synchronously, the cheapest way there is.
 */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { Pool, type QueryResultRow } from 'pg';

const TABLES = `
  CREATE TABLE users (id uuid PRIMARY KEY, claims jsonb NOT NULL);
  CREATE TABLE sessions (id uuid PRIMARY KEY, secret_hash bytea NOT NULL, user_id uuid NOT NULL, expires_at timestamptz NOT NULL);
  CREATE TABLE grants (id uuid PRIMARY KEY, user_id uuid NOT NULL, client_id text NOT NULL, scope text[] NOT NULL, expires_at timestamptz NOT NULL);
  CREATE TABLE authorization_codes (
    id uuid PRIMARY KEY, secret_hash bytea NOT NULL, grant_id uuid NOT NULL, code_challenge text NOT NULL,
    expires_at timestamptz NOT NULL, redeemed_at timestamptz);
  CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY, secret_hash bytea NOT NULL, grant_id uuid NOT NULL, expires_at timestamptz NOT NULL, rotated_at timestamptz);
  CREATE TABLE access_tokens (
    id uuid PRIMARY KEY, secret_hash bytea NOT NULL, grant_id uuid, client_id text NOT NULL, scope text[] NOT NULL,
    audience text[] NOT NULL, expires_at timestamptz NOT NULL, revoked_at timestamptz);
  CREATE TABLE pushed_requests (
    id uuid PRIMARY KEY, secret_hash bytea NOT NULL, parameters jsonb NOT NULL, expires_at timestamptz NOT NULL);
  CREATE TABLE replay_marks (id text PRIMARY KEY);
  CREATE TABLE revocation_marks (id uuid PRIMARY KEY);
  CREATE TABLE exchanges (id uuid PRIMARY KEY, parent uuid NOT NULL, client_id text NOT NULL, hops jsonb NOT NULL, expires_at timestamptz NOT NULL);
`;

export interface Credential {
  readonly id: string;
  readonly hash: Buffer;
  readonly value: string;
}

function toCredential(bytes: Buffer, value: string): Credential {
  const hex = bytes.toString('hex', 0, 16);
  const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  return { id, hash: createHash('sha256').update(bytes.subarray(16)).digest(), value };
}

/** A new credential: 48 bytes as base64url. */
export function mint(): Credential {
  const bytes = randomBytes(48);
  bytes.writeUIntBE(Date.now(), 0, 6);
  return toCredential(bytes, bytes.toString('base64url'));
}

/** Reads what {@link mint} made. */
export function read(value: string): Credential {
  return toCredential(Buffer.from(value, 'base64url'), value);
}

/** A field of a form whose value needs no decoding. */
export function field(form: string, name: string): string {
  const marker = `${name}=`;
  const start = form.startsWith(marker) ? 0 : form.indexOf(`&${marker}`) + 1;
  const end = form.indexOf('&', start);
  return form.slice(start + marker.length, end < 0 ? undefined : end);
}

export function inSeconds(seconds: number): Date {
  return new Date(Date.now() + seconds * 1000);
}

export class Store {
  readonly #pool: Pool;

  constructor(databaseUrl: string) {
    this.#pool = new Pool({ connectionString: databaseUrl, max: 10 });
  }

  async createTables(): Promise<void> {
    await this.#pool.query(TABLES);
  }

  /** One named statement: one round trip. */
  async query<Row extends QueryResultRow>(name: string, text: string, values: unknown[]): Promise<Row[]> {
    return (await this.#pool.query<Row>({ name, text, values })).rows;
  }
}

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const HEADERS = {
  ES256: Buffer.from(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: 'ceiling' })).toString('base64url'),
  RS256: Buffer.from(JSON.stringify({ alg: 'RS256', typ: 'JWT', kid: 'ceiling' })).toString('base64url'),
};

const signingInput = (alg: keyof typeof HEADERS, claims: object) =>
  `${HEADERS[alg]}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;

export function signEs256(claims: object): string {
  const input = signingInput('ES256', claims);
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

/** On the thread pool: ten times dearer, it would hold the event loop. */
export function signRs256(claims: object): Promise<string> {
  const input = signingInput('RS256', claims);
  return new Promise((resolve, reject) => {
    sign('sha256', Buffer.from(input), rsa.privateKey, (error, signature) =>
      error ? reject(error) : resolve(`${input}.${signature.toString('base64url')}`),
    );
  });
}

/** @returns the claims; those of a token of ours, or of a client whose key is given */
export function verified(jwt: string, key: KeyObject = publicKey): Record<string, string> {
  const end = jwt.lastIndexOf('.');
  const signature = Buffer.from(jwt.slice(end + 1), 'base64url');
  const good = verify('sha256', Buffer.from(jwt.slice(0, end)), { key, dsaEncoding: 'ieee-p1363' }, signature);
  if (!good) throw new Error('The signature is wrong.');
  return JSON.parse(Buffer.from(jwt.slice(jwt.indexOf('.') + 1, end), 'base64url').toString());
}

/** The key that a DPoP proof brings along. */
export function keyOfProof(proof: string): KeyObject {
  const header = JSON.parse(Buffer.from(proof.slice(0, proof.indexOf('.')), 'base64url').toString());
  return createPublicKey({ key: header.jwk as JsonWebKey, format: 'jwk' });
}
