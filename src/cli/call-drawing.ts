/** Trees of calls, drawn for people. Pure. */
import type { CallTree, StepTree } from '../operator/call-tree.ts';

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
