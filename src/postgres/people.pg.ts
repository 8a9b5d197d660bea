/** People in PostgreSQL. Whatever ends all that was given out in a person's name raises their epoch. */
import { type RawBuilder, sql } from 'kysely';
import { nameKey, type User, type UserClaims } from '../protocol/claims.ts';
import { isUuid } from '../protocol/secrets.ts';
import type { Sql } from './database.ts';

export interface UserRow {
  id: string;
  username: string;
  claims: UserClaims;
}

export interface UserRecord extends User {
  readonly disabled: boolean;
  readonly createdAt: Date;
}

interface FullRow extends UserRow {
  disabled_at: Date | null;
  created_at: Date;
}

function toRecord(row: FullRow): UserRecord {
  return { ...toUser(row), disabled: row.disabled_at !== null, createdAt: row.created_at };
}

export function toUser({ id, username, claims }: UserRow): User {
  return { id, username, claims };
}

/** @returns `taken` when the name or the e-mail address is somebody's already, as a name or as an address */
export async function createUser(
  database: Sql,
  user: User,
  passwordHash: string,
  now: Date,
): Promise<'created' | 'taken'> {
  const { rows } = await sql`
    INSERT INTO users (id, username, username_key, email_key, password_hash, claims, created_at, updated_at)
    SELECT ${user.id}::uuid, ${user.username}::text, ${nameKey(user.username)}::text, ${emailKey(user.claims)}::text,
           ${passwordHash}::text, ${JSON.stringify(user.claims)}::jsonb, ${now}::timestamptz, ${now}::timestamptz
    WHERE NOT EXISTS (SELECT FROM users o WHERE o.username_key = ${emailKey(user.claims)}::text)
    ON CONFLICT DO NOTHING RETURNING id`.execute(database);
  return rows.length === 0 ? 'taken' : 'created';
}

export async function updateUserClaims(
  database: Sql,
  id: string,
  claims: UserClaims,
  now: Date,
): Promise<'updated' | 'taken' | 'unknown'> {
  const { rows } = await sql<{ updated: boolean; known: boolean }>`
    WITH updated AS (
      UPDATE users SET claims = ${JSON.stringify(claims)}::jsonb, email_key = ${emailKey(claims)}, updated_at = ${now}
      WHERE id = ${id}
        AND NOT EXISTS (SELECT FROM users o WHERE o.id <> ${id} AND ${emailKey(claims)}::text IN (o.email_key, o.username_key))
      RETURNING id)
    SELECT EXISTS (SELECT FROM updated) AS updated, EXISTS (SELECT FROM users WHERE id = ${id}) AS known`.execute(
    database,
  );
  const [row] = rows;
  return row?.updated ? 'updated' : row?.known ? 'taken' : 'unknown';
}

/**
 * With an epoch that was raised no sign-in counts any more; that it has ended stands in its own row too, from where clients
 * are told (Back-Channel Logout 1.0).
 */
function endSignIns(people: string, now: Date): RawBuilder<unknown> {
  return sql`
    UPDATE sign_ins i SET ended_at = ${now} FROM ${sql.table(people)} p
    WHERE i.user_id = p.id AND i.ended_at IS NULL AND i.expires_at > ${now}`;
}

/** A new password ends every session, grant and token of the person. */
export async function setPassword(
  database: Sql,
  id: string,
  passwordHash: string,
  now: Date,
): Promise<'updated' | 'unknown'> {
  const { rows } = await sql`
    WITH person AS (
      UPDATE users SET password_hash = ${passwordHash}, epoch = epoch + 1, updated_at = ${now} WHERE id = ${id} RETURNING id
    ), signed_out AS (${endSignIns('person', now)})
    SELECT id FROM person`.execute(database);
  return rows.length === 0 ? 'unknown' : 'updated';
}

/** Disabling ends everything at once, and enabling again brings nothing back. */
export async function setUserDisabled(
  database: Sql,
  id: string,
  disabled: boolean,
  now: Date,
): Promise<'updated' | 'unknown'> {
  const { rows } = await sql`
    WITH person AS (
      UPDATE users SET disabled_at = ${disabled ? now : null}, epoch = epoch + 1, updated_at = ${now} WHERE id = ${id} RETURNING id
    ), signed_out AS (${endSignIns('person', now)})
    SELECT id FROM person`.execute(database);
  return rows.length === 0 ? 'unknown' : 'updated';
}

/** By id, user name or e-mail address. */
export async function findUser(database: Sql, name: string): Promise<UserRecord | undefined> {
  const { rows } = await sql<FullRow>`
    SELECT id, username, claims, disabled_at, created_at FROM users
    WHERE ${isUuid(name) ? sql`id = ${name}` : sql`username_key = ${nameKey(name)} OR email_key = ${nameKey(name)}`}
    ORDER BY (username_key = ${nameKey(name)}) DESC LIMIT 1`.execute(database);
  return rows[0] && toRecord(rows[0]);
}

/** In the order of their names, after `after`. */
export async function listUsers(database: Sql, after: string, limit: number): Promise<UserRecord[]> {
  const { rows } = await sql<FullRow>`
    SELECT id, username, claims, disabled_at, created_at FROM users
    WHERE username_key > ${nameKey(after)} ORDER BY username_key LIMIT ${limit}`.execute(database);
  return rows.map(toRecord);
}

export async function hasUsers(database: Sql): Promise<boolean> {
  const { rows } = await sql<{ some: boolean }>`SELECT EXISTS (SELECT FROM users) AS some`.execute(database);
  return rows[0]?.some ?? false;
}

/** Marks the database as one with demo data, which `serve` refuses. */
export async function markDemoData(database: Sql, now: Date): Promise<void> {
  await sql`INSERT INTO demo_data (created_at) VALUES (${now}) ON CONFLICT DO NOTHING`.execute(database);
}

export async function holdsDemoData(database: Sql): Promise<boolean> {
  const { rows } = await sql<{ some: boolean }>`SELECT EXISTS (SELECT FROM demo_data) AS some`.execute(database);
  return rows[0]?.some ?? false;
}

function emailKey(claims: UserClaims): string | null {
  return claims.email === undefined ? null : nameKey(claims.email);
}
