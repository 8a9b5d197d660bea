/**
 * The record of exchanges: each step of each call, allowed or refused (RFC 8693). It is where tokens that were made from others are
 * kept, so that a step and its token are one row: no token without its story. src/postgres/exchanges.pg.ts keeps it.
 */
import type { Authentication } from './authorization.ts';
import type { Call } from './call.ts';
import type { Confirmation } from './confirmation.ts';
import type { Minted } from './feature.ts';
import type { ReplayMark } from './replay.ts';

/** RFC 8693 §2.1. */
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 7523 §2.1. */
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

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

export interface AllowedStep extends Step {
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
