/**
 * The tree of a call, grown from its recorded steps and drawn for people. Pure.
 *
 *   alice → web                         the first token: who, through which client
 *   └─ photos-api  photos → storage     what was made from it, and asked for and refused
 *      └─ storage-api  storage → archive
 *
 * Another domain may say any `txn`, so one can stand for steps that begin with different first tokens: each of them is a tree.
 */
import type { FoundCalls } from '../operator/calls.ts';
import type { FirstToken, RecordedStep, TokenState } from '../postgres/calls.pg.ts';
import type { Actor, Origin } from '../protocol/call.ts';

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
  const iat = Math.floor(at.getTime() / 1000);
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

/** Draws trees, one below the other. */
export function drawTrees(trees: readonly CallTree[]): string {
  return trees.map((tree) => [...drawRoot(tree), ...drawBranches(tree.steps, '')].join('\n')).join('\n\n');
}

function drawRoot(tree: CallTree): string[] {
  const { user, sub, iss, client_id, grant_type, at, scope, audience, until, state, token, txn, steps } = tree;
  const who = user ?? sub;
  const trunk = steps.length > 0 ? '│' : ' ';
  const facts = [
    scope && audience && `${words(scope)} for ${words(audience)}${until ? `, until ${time(until)}` : ''}`,
    state,
  ].filter((fact) => fact !== undefined);
  return [
    `call ${shown(txn)}`,
    `${who === undefined ? '' : `${shown(who)} → `}${shown(client_id)}  ${shown(grant_type)}${iss === undefined ? '' : ` at ${shown(iss)}`}, ${time(at)}`,
    ...(facts.length > 0 ? [`${trunk}  ${facts.join('; ')}`] : []),
    `${trunk}  token ${shown(token)}`,
  ];
}

function drawBranches(steps: readonly StepTree[], indent: string): string[] {
  return steps.flatMap((step, index) => {
    const isLast = index === steps.length - 1;
    const inside = `${indent}${isLast ? ' ' : '│'}  `;
    const trunk = step.steps.length > 0 ? '│' : ' ';
    const [title = '', ...facts] = step.refused === undefined ? drawStep(step) : drawRefusal(step);
    return [
      `${indent}${isLast ? '└' : '├'}─ ${title}`,
      ...facts.map((fact) => `${inside}${trunk}  ${fact}`),
      ...drawBranches(step.steps, inside),
    ];
  });
}

function drawStep(step: StepTree): string[] {
  const { mode, policy, at, until, bound = [], state, because, token, request_id } = step;
  const boundTo = bound.length > 0 ? `bound to a ${bound.map(shown).join(' and a ')}` : 'not bound to a key';
  const become = because === undefined ? state : `${state}: ${because}`;
  return [
    `${wayOf(step)}  ${words(step.scope)}`,
    `${mode} by ${shown(policy ?? 'no policy')}, ${time(at)}${until ? ` until ${time(until)}` : ''}, ${boundTo}; ${shown(become ?? '')}`,
    `token ${shown(token ?? '')}${request(request_id)}`,
  ];
}

function drawRefusal(step: StepTree): string[] {
  const { refused = '', times = 1, at, request_id } = step;
  return [
    `✗ ${wayOf(step)}  ${words(step.scope)}`,
    `refused by the rule ${shown(refused)}, ${time(at)}${times > 1 ? `, ${times} times in that minute` : ''}${request(request_id)}`,
  ];
}

function wayOf({ actors = [], client_id, source, target }: StepTree): string {
  const who = [...actors, client_id].map(shown).join(' → ');
  return `${who}  ${source === undefined ? '' : `${shown(source)} `}→ ${shown(target)}`;
}

function request(id: string | undefined): string {
  return id === undefined ? '' : `, request ${shown(id)}`;
}

function words(list: readonly string[]): string {
  return list.length > 0 ? list.map(shown).join(' ') : 'no scope';
}

function time(at: Date): string {
  // Another domain may say that its call began after the end of time.
  return Number.isNaN(at.getTime()) ? 'nobody knows when' : at.toISOString().replace(/\.\d{3}Z$/, 'Z');
}

const LONGEST = 200;

/**
 * Targets of refused requests and names in other domains are whatever somebody sent: no escape sequences, directions or line breaks
 * get to a terminal, and none of them fills it.
 */
function shown(text: string): string {
  const safe = text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return safe.length > LONGEST ? `${safe.slice(0, LONGEST)}…` : safe;
}
