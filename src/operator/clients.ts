/** What operators do with clients: the verbs behind `gatehouse clients` and the demo data. */
import { checkSectorIdentifier } from '../outgoing/sector-identifier.ts';
import { createClient, type NewClientSecret, rotateClientSecret, updateClient } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import {
  type Client,
  type ClientMetadata,
  type ClientRecord,
  checkClientMetadata,
  hasSecret,
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
 * @param allowLoopbackFetch tests only: the sector identifier may be on this machine
 * @throws OAuthError naming the field that is wrong, or that the id is taken
 */
export async function registerClient(
  database: Sql,
  input: unknown,
  rules: RegistrationRules,
  context: Context,
  allowLoopbackFetch = false,
): Promise<RegisteredClient> {
  const { metadata, ignored } = checkClientMetadata(input, rules);
  await checkSectorIdentifier(metadata, allowLoopbackFetch);
  const { client_id: chosen, ...stored } = metadata;
  const now = context.now();
  // RFC 7591 §3.2.1: unique; the prefix keeps it from ever looking like a user's id.
  const id = typeof chosen === 'string' ? chosen : `client-${mintId(now, context.random)}`;
  const client = toClient(recordOf(id, stored));
  const secret = hasSecret(client) ? mintClientSecret(context) : undefined;
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
 *
 * What its subjects are made from stays: under another `subject_type` or sector everybody would be a stranger to the client,
 * and a token refreshed across the change would tell it both names of a person, which is what pairwise subjects are to
 * prevent. A client that moves to another host keeps its sector by a `sector_identifier_uri` on the old one.
 * @param allowLoopbackFetch tests only: the sector identifier may be on this machine
 * @throws OAuthError naming the field that is wrong
 */
export async function changeClient(
  database: Sql,
  record: ClientRecord,
  changes: Readonly<Record<string, unknown>>,
  rules: RegistrationRules,
  now: Date,
  allowLoopbackFetch = false,
): Promise<{ metadata: ClientMetadata; ignored: readonly string[] }> {
  const merged = Object.fromEntries(
    Object.entries({ ...record.metadata, ...changes }).filter(([, value]) => value !== null),
  );
  if ((merged.client_id ?? record.id) !== record.id)
    throw new OAuthError('invalid_client_metadata', 'client_id: cannot be changed');
  const { metadata, ignored } = checkClientMetadata(merged, rules);
  const { client_id: _same, ...stored } = metadata;
  const changed = toClient(recordOf(record.id, stored));
  checkSectorKept(toClient(record), changed);
  // Asked again only when the answer could be another one: a document that is away must not hold up a new logo.
  if (differs(record.metadata, stored, ['sector_identifier_uri', 'redirect_uris']))
    await checkSectorIdentifier(stored, allowLoopbackFetch);
  await updateClient(database, record.id, stored, changed.origins, now);
  return { metadata: stored, ignored };
}

function checkSectorKept(before: Client, after: Client): void {
  if (before.sector === after.sector) return;
  const sameType = before.sector !== undefined && after.sector !== undefined;
  throw new OAuthError(
    'invalid_client_metadata',
    sameType
      ? 'sector_identifier_uri: its host, or that of the redirect_uris, cannot become another one, or everybody would get another sub'
      : 'subject_type: cannot be changed, or everybody would get another sub: register a new client',
  );
}

function differs(before: ClientMetadata, after: ClientMetadata, fields: readonly string[]): boolean {
  return fields.some((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]));
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
