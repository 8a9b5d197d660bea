/**
 * The tree of a call, grown from its recorded steps. Pure; cli/call-drawing.ts draws it for people.
 *
 *   alice → web                         the first token: who, through which client
 *   └─ photos-api  photos → storage     what was made from it, and asked for and refused
 *      └─ storage-api  storage → archive
 *
 * Another domain may say any `txn`, so one can stand for steps that begin with different first tokens: each of them is a tree.
 */

import type { FirstToken, RecordedStep, TokenState } from '../postgres/calls.pg.ts';
import type { Actor, Origin } from '../protocol/call.ts';
import { seconds } from '../protocol/jose.ts';
import type { FoundCalls } from './calls.ts';

/** One call, as `--format json` prints it. */
export interface CallTree {
  readonly txn: string;
  /** `jti` of the first token. */
  readonly token: string;
  readonly user?: string;
  /** The subject, as the first client knows it. */
  readonly sub?: string;
  /** The domain it came from, where it was another one. */
  readonly iss?: string;
  readonly client_id: string;
  readonly grant_type: string;
  readonly at: Date;
  readonly scope?: readonly string[];
  readonly audience?: readonly string[];
  readonly until?: Date;
  readonly state?: TokenState;
  readonly steps: readonly StepTree[];
}

export interface StepTree {
  /** Who asked. */
  readonly client_id: string;
  /** People who act. */
  readonly actors?: readonly string[];
  readonly source?: string;
  readonly target: string;
  readonly scope: readonly string[];
  readonly at: Date;
  readonly request_id?: string;
  /** The rule that refused it. */
  readonly refused?: string;
  /** How often it was refused so in that minute. */
  readonly times?: number;
  readonly token?: string;
  readonly token_type?: string;
  readonly mode?: 'delegation' | 'impersonation';
  readonly act?: Actor;
  readonly policy?: string;
  readonly until?: Date;
  readonly bound?: readonly string[];
  readonly state?: TokenState;
  readonly because?: string;
  readonly steps: readonly StepTree[];
}

const BINDINGS: Readonly<Record<string, string>> = { jkt: 'DPoP key', 'x5t#S256': 'certificate' };

/** The trees of what was found, each in the order in which it grew. */
export function growTrees({ calls, firstTokens, revoked }: FoundCalls, now: Date): CallTree[] {
  return calls.flatMap(({ txn, steps }): CallTree[] => {
    const alone = steps.length === 0 ? firstTokens.get(txn) : undefined;
    if (alone) return [{ txn, ...rootOf(originOf(alone), alone, revoked, now), steps: [] }];
    return byOrigin(steps).map((own) => {
      const [{ origin }] = own;
      // What another domain calls its tokens may be what we call ours.
      const first = origin.iss === undefined ? firstTokens.get(origin.jti) : undefined;
      const user = first?.username ?? own.find(({ username }) => username !== undefined)?.username;
      return { txn, ...rootOf(origin, first, revoked, now), ...(user !== undefined && { user }), steps: branches(own) };
    });
  });
}

type Some<T> = [T, ...T[]];

function byOrigin(steps: readonly RecordedStep[]): Some<RecordedStep>[] {
  const groups = new Map<string, Some<RecordedStep>>();
  for (const step of steps) {
    const name = JSON.stringify([step.origin.iss, step.origin.jti]);
    const group = groups.get(name);
    if (group) group.push(step);
    else groups.set(name, [step]);
  }
  return [...groups.values()];
}

function originOf({ id, clientId, hasGrant, at }: FirstToken): Origin {
  const iat = seconds(at);
  return { client_id: clientId, jti: id, iat, grant_type: hasGrant ? 'authorization_code' : 'client_credentials' };
}

function rootOf(
  { jti, client_id, sub, iss, grant_type, iat }: Origin,
  first: FirstToken | undefined,
  revoked: ReadonlySet<string>,
  now: Date,
): Omit<CallTree, 'txn' | 'steps'> {
  const isOver = first !== undefined && first.expiresAt <= now;
  const state: TokenState | undefined =
    iss === undefined && revoked.has(jti) ? 'revoked' : isOver ? 'expired' : undefined;
  return {
    token: jti,
    ...(first?.username !== undefined && { user: first.username }),
    ...(sub !== undefined && { sub }),
    ...(iss !== undefined && { iss }),
    client_id,
    grant_type,
    at: new Date(iat * 1000),
    ...(first && { scope: first.scope, audience: first.audience, until: first.expiresAt }),
    ...(state && { state }),
  };
}

/** Steps below the tokens they were made from; what was made from a token that is no step of ours begins at the root. */
function branches(steps: readonly RecordedStep[]): StepTree[] {
  const depths = new Map(steps.filter(({ refused }) => refused === undefined).map(({ id, depth }) => [id, depth]));
  const below = new Map<string | undefined, RecordedStep[]>();
  for (const step of steps) {
    // What is above is nearer to the root, so nothing goes round. Not by time: clocks of nodes differ.
    const parent = (depths.get(step.parent) ?? Number.POSITIVE_INFINITY) < step.depth ? step.parent : undefined;
    below.set(parent, [...(below.get(parent) ?? []), step]);
  }
  const grow = (above: RecordedStep | undefined): StepTree[] =>
    (below.get(above?.id) ?? []).map((step) => ({
      ...leaf(step, above),
      steps: step.refused === undefined ? grow(step) : [],
    }));
  return grow(undefined);
}

function leaf(step: RecordedStep, above: RecordedStep | undefined): Omit<StepTree, 'steps'> {
  const { clientId, actors, source, target, scope, at, requestId, refused, times } = step;
  return {
    client_id: clientId,
    ...(actors.length > 0 && { actors }),
    ...(source !== undefined && { source }),
    target,
    scope,
    at,
    ...(requestId !== undefined && { request_id: requestId }),
    ...(refused === undefined ? issued(step, above) : { refused, times }),
  };
}

function issued(step: RecordedStep, above: RecordedStep | undefined): Partial<StepTree> {
  const { id, issuedTokenType, act, policy, expiresAt, cnf, state, because } = step;
  return {
    token: id,
    ...(issuedTokenType !== undefined && { token_type: issuedTokenType.replace(/^.*:/, '') }),
    mode: isDelegation(act, above) ? 'delegation' : 'impersonation',
    ...(act && { act }),
    ...(policy !== undefined && { policy }),
    ...(expiresAt && { until: expiresAt }),
    bound: Object.keys(cnf ?? {}).map((name) => BINDINGS[name] ?? name),
    ...(state && { state }),
    ...(because !== undefined && { because }),
  };
}

/** RFC 8693 §1.1, §4.1: delegation names one more who acts. What acted in another domain has that one's name in it. */
function isDelegation(act: Actor | undefined, above: RecordedStep | undefined): boolean {
  return above ? levels(act) > levels(above.act) : act !== undefined && act.iss === undefined;
}

function levels(act: Actor | undefined): number {
  return act ? 1 + levels(act.act) : 0;
}
