/** What operators do with clients: the verbs behind `gatehouse clients` and the demo data. */
import { createClient, type NewClientSecret, rotateClientSecret, updateClient } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import {
  type ClientMetadata,
  type ClientRecord,
  checkClientMetadata,
  isPublic,
  type RegistrationRules,
  toClient,
} from '../protocol/client.ts';
import type { Context } from '../protocol/context.ts';
import { OAuthError } from '../protocol/errors.ts';
import { mintCredential, mintId, sha256 } from '../protocol/secrets.ts';

export interface RegisteredClient {
  readonly clientId: string;
  /** Shown once; we keep its digest. */
  readonly clientSecret: string | undefined;
  readonly metadata: ClientMetadata;
  readonly ignored: readonly string[];
}

/**
 * Registers a client from RFC 7591 metadata plus our extensions.
 * @throws OAuthError naming the field that is wrong, or that the id is taken
 */
export async function registerClient(
  database: Sql,
  input: unknown,
  rules: RegistrationRules,
  context: Context,
): Promise<RegisteredClient> {
  const { metadata, ignored } = checkClientMetadata(input, rules);
  const { client_id: chosen, ...stored } = metadata;
  const now = context.now();
  // RFC 7591 §3.2.1: unique; the prefix keeps it from ever looking like a user's id.
  const id = typeof chosen === 'string' ? chosen : `client-${mintId(now, context.random)}`;
  const client = toClient(recordOf(id, stored));
  const secret = isPublic(client) ? undefined : mintClientSecret(context);
  const outcome = await createClient(
    database,
    { id, metadata: stored, origins: client.origins, secret: secret?.stored },
    now,
  );
  if (outcome === 'taken') {
    throw new OAuthError(
      'invalid_client_metadata',
      'client_id: is taken, or was a deleted client\u2019s, whose ids are not given again',
    );
  }
  return { clientId: id, clientSecret: secret?.value, metadata: stored, ignored };
}

/**
 * Replaces a client's metadata by what it was with `changes` laid over it (`null` removes a field).
 * @throws OAuthError naming the field that is wrong
 */
export async function changeClient(
  database: Sql,
  record: ClientRecord,
  changes: Readonly<Record<string, unknown>>,
  rules: RegistrationRules,
  now: Date,
): Promise<{ metadata: ClientMetadata; ignored: readonly string[] }> {
  const merged = Object.fromEntries(
    Object.entries({ ...record.metadata, ...changes }).filter(([, value]) => value !== null),
  );
  if ((merged.client_id ?? record.id) !== record.id)
    throw new OAuthError('invalid_client_metadata', 'client_id: cannot be changed');
  const { metadata, ignored } = checkClientMetadata(merged, rules);
  const { client_id: _same, ...stored } = metadata;
  await updateClient(database, record.id, stored, toClient(recordOf(record.id, stored)).origins, now);
  return { metadata: stored, ignored };
}

/**
 * Gives a client a new secret; the ones it has end after `overlap` seconds, so nothing stops while it is rolled out.
 * @throws OAuthError when there is no such client
 */
export async function rotateSecret(
  database: Sql,
  id: string,
  overlap: number,
  context: Context,
): Promise<{ value: string; othersEnd: Date }> {
  const now = context.now();
  const secret = mintClientSecret(context);
  const othersEnd = new Date(now.getTime() + overlap * 1000);
  if ((await rotateClientSecret(database, id, secret.stored, othersEnd, now)) === 'unknown') {
    throw new OAuthError('invalid_request', 'There is no such client.');
  }
  return { value: secret.value, othersEnd };
}

function mintClientSecret(context: Context): { value: string; stored: NewClientSecret } {
  const { value, id } = mintCredential('client_secret', context.now(), context.random);
  return { value, stored: { id, hash: sha256(value), expiresAt: null } };
}

function recordOf(id: string, metadata: ClientMetadata): ClientRecord {
  return { id, metadata, secrets: [], disabled: false, logoUrl: undefined };
}
