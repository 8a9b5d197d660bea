/**
 * The record of exchanges: each step of each call, allowed or refused (RFC 8693). It is where tokens that were made from others are
 * kept, so that a step and its token are one row: no token without its story. src/postgres/exchanges.pg.ts keeps it.
 */
import type { Authentication } from './authorization.ts';
import type { Call } from './call.ts';
import type { Catalogue } from './catalogue.ts';
import type { Confirmation } from './confirmation.ts';
import type { Minted } from './feature.ts';
import type { ReplayMark } from './replay.ts';

/** RFC 8693 §2.1. */
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 7523 §2.1. */
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const URN = 'urn:ietf:params:oauth:token-type:';

/** RFC 8693 §3. */
export const TOKEN_TYPES = {
  access_token: `${URN}access_token`,
  id_token: `${URN}id_token`,
  jwt: `${URN}jwt`,
} as const;

/** What is known of a step, whatever became of it. */
export interface Step {
  readonly txn: string;
  readonly origin: Call['origin'];
  readonly subject: string;
  /** `jti` of the subject token. */
  readonly parent: string;
  /** Who asked. */
  readonly clientId: string;
  readonly userId: string | undefined;
  readonly grantId: string | undefined;
  readonly hops: Call['hops'];
  /** Audience of the subject token that counted, once it is known. */
  readonly source: string | undefined;
  readonly target: string;
  readonly requestId: string;
}

/** What it shares with its call is the call's to say. */
export interface AllowedStep extends Omit<Step, 'txn' | 'origin' | 'subject' | 'hops'> {
  /** As it is after this step. */
  readonly call: Call;
  readonly scope: readonly string[];
  readonly audience: readonly string[];
  readonly cnf: Confirmation | undefined;
  /** Where the subject signed in at another domain; our own grants say it themselves. */
  readonly authentication: Authentication | undefined;
  readonly issuedTokenType: string;
}

export interface RefusedStep extends Step {
  /** What was asked for. */
  readonly scope: readonly string[];
  /** The rule that refused it, e.g. `may_act`. */
  readonly rule: string;
}

export interface Exchanges {
  /**
   * Records a step with the token that was minted for it, unless one of its marks was used before. One statement.
   * @returns the mark that was used, and nothing is recorded
   */
  record(step: AllowedStep, minted: Minted, now: Date): Promise<ReplayMark | undefined>;
  /** Records that a step was refused; equal refusals of a minute are counted in one row. One statement. */
  refuse(step: RefusedStep, now: Date): Promise<void>;
}

/** In the record, for what was asked for and is nothing here. */
const UNKNOWN = 'unknown';

/**
 * What a refused request asked for, as it may be written down. Any text can be asked for; only what is known here is kept, so that
 * nobody writes the record but us, and none of its rows is longer than our own words.
 * @param target `undefined` where it was not named, or not clearly
 */
export async function knownOf(
  { target, scope, clientId }: { target: string | undefined; scope: readonly string[]; clientId: string },
  catalogue: Catalogue,
): Promise<Pick<RefusedStep, 'target' | 'scope'>> {
  const [resources, policies] = [await catalogue.resources(), await catalogue.exchangePolicies()];
  const isTarget = target !== undefined && (resources.get(target) || (await catalogue.trustDomains()).has(target));
  // What another domain's scopes are called, only policies say.
  const isScope = (token: string) =>
    resources.isKnownScope(token) ||
    policies.of(clientId).some(({ scopes }) => Object.values(scopes).some((to) => to.includes(token)));
  return {
    target: isTarget ? target : UNKNOWN,
    scope: [...new Set(scope.map((token) => (isScope(token) ? token : UNKNOWN)))],
  };
}
