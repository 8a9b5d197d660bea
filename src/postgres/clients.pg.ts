/** Clients in PostgreSQL. Changes raise the catalogue's version in their own transaction. */
import { sql } from 'kysely';
import type { ClientMetadata, ClientRecord } from '../protocol/client.ts';
import { raiseVersion } from './catalogue-version.ts';
import type { Sql } from './database.ts';

interface Row {
  id: string;
  metadata: ClientMetadata;
  secrets: { hash: string; expires_at: string | null }[] | null;
  disabled_at: Date | null;
  logo: string | null;
  created_at: Date;
}

const columns = sql`
  c.id, c.metadata, c.disabled_at, c.created_at,
  (SELECT l.digest FROM client_logos l WHERE l.client_id = c.id) AS logo,
  (SELECT json_agg(json_build_object('hash', encode(s.hash, 'hex'), 'expires_at', s.expires_at) ORDER BY s.id)
     FROM client_secrets s WHERE s.client_id = c.id) AS secrets`;

function toRecord(row: Row): ClientRecord & { createdAt: Date } {
  return {
    id: row.id,
    metadata: row.metadata,
    disabled: row.disabled_at !== null,
    logoUrl: row.logo === null ? undefined : `/client-logos/${encodeURIComponent(row.id)}?${row.logo}`,
    secrets: (row.secrets ?? []).map(({ hash, expires_at }) => ({
      hash: Buffer.from(hash, 'hex'),
      expiresAt: expires_at === null ? null : new Date(expires_at),
    })),
    createdAt: row.created_at,
  };
}

export async function findClientRecord(database: Sql, id: string): Promise<ClientRecord | undefined> {
  const { rows } = await sql<Row>`SELECT ${columns} FROM clients c WHERE c.id = ${id} AND c.deleted_at IS NULL`.execute(
    database,
  );
  return rows[0] && toRecord(rows[0]);
}

/** In the order of their ids, after `after`. */
/** Whether a client has this id, or had it: ids of deleted ones are never given again. */
export async function isClientIdTaken(database: Sql, id: string): Promise<boolean> {
  const { rows } = await sql`SELECT 1 FROM clients WHERE id = ${id}`.execute(database);
  return rows.length > 0;
}

export async function listClientRecords(
  database: Sql,
  after: string,
  limit: number,
): Promise<(ClientRecord & { createdAt: Date })[]> {
  const { rows } = await sql<Row>`
    SELECT ${columns} FROM clients c
    WHERE c.id > ${after} AND c.deleted_at IS NULL ORDER BY c.id LIMIT ${limit}`.execute(database);
  return rows.map(toRecord);
}

export async function isClientOrigin(database: Sql, origin: string): Promise<boolean> {
  const { rows } = await sql<{ known: boolean }>`
    SELECT EXISTS (
      SELECT FROM client_origins o JOIN clients c ON c.id = o.client_id
      WHERE o.origin = ${origin} AND c.disabled_at IS NULL AND c.deleted_at IS NULL
    ) AS known`.execute(database);
  return rows[0]?.known ?? false;
}

export interface NewClient {
  readonly id: string;
  readonly metadata: ClientMetadata;
  readonly origins: ReadonlySet<string>;
  readonly secret: NewClientSecret | undefined;
}

export interface NewClientSecret {
  readonly id: string;
  readonly hash: Buffer;
  readonly expiresAt: Date | null;
}

/** @returns `taken` also for ids of deleted clients: they are never given again */
export function createClient(database: Sql, client: NewClient, now: Date): Promise<'created' | 'taken'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      INSERT INTO clients (id, metadata, created_at, updated_at)
      VALUES (${client.id}, ${JSON.stringify(client.metadata)}::jsonb, ${now}, ${now})
      ON CONFLICT (id) DO NOTHING RETURNING id`.execute(transaction);
    if (rows.length === 0) return 'taken';
    await replaceOrigins(transaction, client.id, client.origins);
    if (client.secret) await insertSecret(transaction, client.id, client.secret, now);
    await raiseVersion(transaction);
    return 'created';
  });
}

export function updateClient(
  database: Sql,
  id: string,
  metadata: ClientMetadata,
  origins: ReadonlySet<string>,
  now: Date,
): Promise<'updated' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      UPDATE clients SET metadata = ${JSON.stringify(metadata)}::jsonb, updated_at = ${now}
      WHERE id = ${id} AND deleted_at IS NULL RETURNING id`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    await replaceOrigins(transaction, id, origins);
    await raiseVersion(transaction);
    return 'updated';
  });
}

/** Disables or enables it: disabled, nothing it holds works, at once. */
export function setClientDisabled(
  database: Sql,
  id: string,
  disabled: boolean,
  now: Date,
): Promise<'updated' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      UPDATE clients SET disabled_at = ${disabled ? now : null}, updated_at = ${now}
      WHERE id = ${id} AND deleted_at IS NULL RETURNING id`.execute(transaction);
    await raiseVersion(transaction);
    return rows.length === 0 ? 'unknown' : 'updated';
  });
}

/** Its row stays, empty, so that the id is never given to another client. */
export function deleteClient(database: Sql, id: string, now: Date): Promise<'deleted' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      UPDATE clients SET deleted_at = ${now}, metadata = '{}'::jsonb
      WHERE id = ${id} AND deleted_at IS NULL RETURNING id`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    await sql`DELETE FROM client_secrets WHERE client_id = ${id}`.execute(transaction);
    await sql`DELETE FROM client_origins WHERE client_id = ${id}`.execute(transaction);
    await sql`DELETE FROM client_logos WHERE client_id = ${id}`.execute(transaction);
    await sql`DELETE FROM exchange_policies WHERE client_id = ${id}`.execute(transaction);
    await raiseVersion(transaction);
    return 'deleted';
  });
}

/** Adds a secret and lets the ones before it end at `othersEnd` (or earlier, as they were to). */
export function rotateClientSecret(
  database: Sql,
  id: string,
  secret: NewClientSecret,
  othersEnd: Date,
  now: Date,
): Promise<'rotated' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`SELECT FROM clients WHERE id = ${id} AND deleted_at IS NULL FOR UPDATE`.execute(
      transaction,
    );
    if (rows.length === 0) return 'unknown';
    await sql`
      DELETE FROM client_secrets WHERE client_id = ${id} AND expires_at <= ${now}`.execute(transaction);
    await sql`
      UPDATE client_secrets SET expires_at = least(expires_at, ${othersEnd}::timestamptz) WHERE client_id = ${id}`.execute(
      transaction,
    );
    await insertSecret(transaction, id, secret, now);
    await raiseVersion(transaction);
    return 'rotated';
  });
}

export interface ClientLogo {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly digest: string;
}

export async function findClientLogo(database: Sql, id: string): Promise<ClientLogo | undefined> {
  const { rows } = await sql<{ media_type: string; bytes: Buffer; digest: string }>`
    SELECT media_type, bytes, digest FROM client_logos WHERE client_id = ${id}`.execute(database);
  const [row] = rows;
  return row && { mediaType: row.media_type, bytes: row.bytes, digest: row.digest };
}

export function setClientLogo(database: Sql, id: string, logo: ClientLogo): Promise<'updated' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      INSERT INTO client_logos (client_id, media_type, bytes, digest)
      SELECT id, ${logo.mediaType}, ${logo.bytes}, ${logo.digest} FROM clients WHERE id = ${id} AND deleted_at IS NULL
      ON CONFLICT (client_id) DO UPDATE SET media_type = excluded.media_type, bytes = excluded.bytes, digest = excluded.digest
      RETURNING client_id`.execute(transaction);
    await raiseVersion(transaction);
    return rows.length === 0 ? 'unknown' : 'updated';
  });
}

export function removeClientLogo(database: Sql, id: string): Promise<void> {
  return database.transaction().execute(async (transaction) => {
    await sql`DELETE FROM client_logos WHERE client_id = ${id}`.execute(transaction);
    await raiseVersion(transaction);
  });
}

async function insertSecret(transaction: Sql, clientId: string, secret: NewClientSecret, now: Date): Promise<void> {
  await sql`
    INSERT INTO client_secrets (id, client_id, hash, created_at, expires_at)
    VALUES (${secret.id}, ${clientId}, ${secret.hash}, ${now}, ${secret.expiresAt})`.execute(transaction);
}

async function replaceOrigins(transaction: Sql, clientId: string, origins: ReadonlySet<string>): Promise<void> {
  await sql`DELETE FROM client_origins WHERE client_id = ${clientId}`.execute(transaction);
  await sql`
    INSERT INTO client_origins (origin, client_id)
    SELECT origin, ${clientId} FROM unnest(${[...origins]}::text[]) AS origin`.execute(transaction);
}
