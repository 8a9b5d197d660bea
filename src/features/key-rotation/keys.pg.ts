/**
 * Our keys in PostgreSQL: those we sign with, and, in the same table, those others encrypt to us with. Changes happen under one lock and raise the
 * catalogue's version.
 */
import { sql } from 'kysely';
import { raiseVersion } from '../../postgres/catalogue-version.ts';
import type { Sql } from '../../postgres/database.ts';
import type { PublicJwk } from '../../protocol/jose.ts';
import type { KeyEncryption, Sealed } from '../../protocol/key-encryption.ts';
import { type KeyAlg, type Keys, type LockedKeys, purposeOf, type StoredKey } from './index.ts';

interface Row {
  kid: string;
  alg: KeyAlg;
  public_jwk: PublicJwk;
  private_key: Buffer | null;
  key_encryption_key: string | null;
  created_at: Date;
  activated_at: Date | null;
  retired_at: Date | null;
  archived_at: Date | null;
}

/** 'KEYS' twice. */
const LOCK = '5424958011470041939';

export function postgresKeys(database: Sql): Keys {
  return {
    list: () => list(database),
    async alone(change) {
      await database.transaction().execute(async (transaction) => {
        await sql`SELECT pg_advisory_xact_lock(${LOCK}::bigint)`.execute(transaction);
        if (await change(locked(transaction))) await raiseVersion(transaction);
      });
    },
  };
}

async function list(database: Sql): Promise<StoredKey[]> {
  const { rows } = await sql<Row>`
    SELECT kid, alg, public_jwk, private_key, key_encryption_key, created_at, activated_at, retired_at,
           archived_at
    FROM signing_keys ORDER BY created_at, kid`.execute(database);
  return rows.map((row) => ({
    kid: row.kid,
    alg: row.alg,
    publicJwk: row.public_jwk,
    privateKey:
      row.private_key && row.key_encryption_key !== null
        ? { ciphertext: row.private_key, keyName: row.key_encryption_key }
        : undefined,
    createdAt: row.created_at,
    activatedAt: row.activated_at ?? undefined,
    retiredAt: row.retired_at ?? undefined,
    archivedAt: row.archived_at ?? undefined,
  }));
}

function locked(transaction: Sql): LockedKeys {
  return {
    list: () => list(transaction),
    async publish({ kid, alg, publicJwk, privateKey, createdAt }) {
      await sql`
        INSERT INTO signing_keys (kid, alg, public_jwk, private_key, key_encryption_key, created_at)
        VALUES (${kid}, ${alg}, ${JSON.stringify(publicJwk)}::jsonb, ${privateKey.ciphertext}, ${privateKey.keyName}, ${createdAt})`.execute(
        transaction,
      );
    },
    async activate(kid, now) {
      await sql`UPDATE signing_keys SET activated_at = ${now} WHERE kid = ${kid} AND activated_at IS NULL`.execute(
        transaction,
      );
    },
    async retire(kid, now) {
      await sql`UPDATE signing_keys SET retired_at = ${now} WHERE kid = ${kid} AND retired_at IS NULL`.execute(
        transaction,
      );
    },
    async archive(kid, now) {
      await sql`
        UPDATE signing_keys SET archived_at = ${now}, private_key = NULL, key_encryption_key = NULL
        WHERE kid = ${kid} AND retired_at IS NOT NULL AND archived_at IS NULL`.execute(transaction);
    },
    async remove(kid) {
      await sql`DELETE FROM signing_keys WHERE kid = ${kid}`.execute(transaction);
    },
  };
}

/**
 * Moves everything that is stored under another key-encryption key to the one that writes.
 * @returns how many were moved
 */
export function reencryptKeys(database: Sql, encryption: KeyEncryption): Promise<number> {
  return database.transaction().execute(async (transaction) => {
    await sql`SELECT pg_advisory_xact_lock(${LOCK}::bigint)`.execute(transaction);
    const { rows } = await sql<{ alg: KeyAlg | null; id: string; ciphertext: Buffer; key_name: string }>`
      SELECT alg, kid AS id, private_key AS ciphertext, key_encryption_key AS key_name FROM signing_keys
      WHERE key_encryption_key <> ${encryption.writer}
      UNION ALL
      SELECT NULL, name, key, key_encryption_key FROM shared_keys WHERE key_encryption_key <> ${encryption.writer}`.execute(
      transaction,
    );
    for (const row of rows) {
      const purpose = row.alg === null ? `shared key ${row.id}` : purposeOf(row.alg, row.id);
      const moved: Sealed = encryption.seal(
        encryption.open({ ciphertext: row.ciphertext, keyName: row.key_name }, purpose),
        purpose,
      );
      if (row.alg !== null) {
        await sql`
          UPDATE signing_keys SET private_key = ${moved.ciphertext}, key_encryption_key = ${moved.keyName}
          WHERE kid = ${row.id}`.execute(transaction);
      } else {
        await sql`
          UPDATE shared_keys SET key = ${moved.ciphertext}, key_encryption_key = ${moved.keyName} WHERE name = ${row.id}`.execute(
          transaction,
        );
      }
    }
    if (rows.length > 0) await raiseVersion(transaction);
    return rows.length;
  });
}
