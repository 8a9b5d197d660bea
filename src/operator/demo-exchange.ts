/**
 * Demo data for a call that is three APIs deep (RFC 8693): photos ─▶ storage ─▶ archive, each with a policy of its own, and tokens for the
 * photos API that only that API may act with.
 *
 * Made once, together with the archive's client, which comes last: where that is, or was, all of this is the operator's to change
 * and to remove. So a folder of before gets it at its next start, and nothing that was taken away comes back.
 */
import { findClientRecord } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import { findExchangePolicy } from '../postgres/exchange-policies.pg.ts';
import { findResource } from '../postgres/resources.pg.ts';
import type { RegistrationRules } from '../protocol/client.ts';
import { OAuthError } from '../protocol/errors.ts';
import { TOKEN_EXCHANGE } from '../protocol/exchanges.ts';
import { changeClient } from './clients.ts';
import { addExchangePolicy } from './exchange-policies.ts';
import { OperatorError } from './input.ts';
import { changeResource, registerResource } from './resources.ts';

const PHOTOS = 'http://localhost:4001';
const STORAGE = 'http://localhost:4002';

const ARCHIVE = {
  resource: 'http://localhost:4003',
  name: 'Archive',
  scopes: { 'archive.read': 'Read what was put away' },
  access_token_format: 'jwt',
  introspection_clients: ['archive-api'],
} as const;

const POLICIES = [
  {
    name: 'photos-to-storage',
    client: 'photos-api',
    source: PHOTOS,
    target: STORAGE,
    scopes: { 'photos.read': ['storage.read'] },
  },
  {
    name: 'storage-to-archive',
    client: 'storage-api',
    source: STORAGE,
    target: ARCHIVE.resource,
    scopes: { 'storage.read': ['archive.read'] },
  },
] as const;

export interface DemoExchangeOptions {
  readonly issuer: string;
  readonly rules: RegistrationRules;
  readonly now: Date;
}

/** Adds what is missing. What an operator has made otherwise, so that a part does not fit, is left as it is. */
export async function ensureDemoExchange(database: Sql, options: DemoExchangeOptions): Promise<void> {
  const { issuer, rules, now } = options;
  const { profile } = rules;
  await unlessOtherwise(async () => {
    if (!(await findResource(database, ARCHIVE.resource)))
      await registerResource(database, ARCHIVE, { profile, issuer }, now);
  });
  for (const policy of POLICIES) {
    await unlessOtherwise(async () => {
      const record = await findClientRecord(database, policy.client);
      const grants = (record?.metadata.grant_types ?? []) as readonly string[];
      if (record && !grants.includes(TOKEN_EXCHANGE))
        await changeClient(database, record, { grant_types: [...grants, TOKEN_EXCHANGE] }, rules, now);
      if (!(await findExchangePolicy(database, policy.name)))
        await addExchangePolicy(database, policy, { profile, issuer }, now);
    });
  }
  await unlessOtherwise(async () => {
    const photos = await findResource(database, PHOTOS);
    if (photos && photos.may_act === undefined)
      await changeResource(database, photos, { may_act: { sub: 'photos-api' } }, profile, now);
  });
}

async function unlessOtherwise(make: () => Promise<void>): Promise<void> {
  try {
    await make();
  } catch (error) {
    if (!(error instanceof OperatorError || error instanceof OAuthError)) throw error;
  }
}
