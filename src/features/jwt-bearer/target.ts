/** Which API an assertion is for: RFC 8707 §2, ID-JAG §3 (`resource`), draft-ietf-oauth-identity-chaining §2.4.1. */
import type { ExchangePolicy } from '../../protocol/exchange-policy.ts';
import type { ForeignJwt } from '../../protocol/foreign-jwt.ts';
import type { Parameters } from '../../protocol/message.ts';

/** Characters: no API has a longer name (resource.ts). */
const LONGEST = 1000;

/**
 * What the request names, else what the assertion names, else the one place that this client's policies lead to from there.
 * @param policies of the client
 * @returns `undefined` where that is not one; and where it is one the assertion is not for
 */
export function chooseTarget(
  parameters: Parameters,
  { domain, resources }: ForeignJwt,
  policies: readonly ExchangePolicy[],
): string | undefined {
  const requested = [...parameters.all('resource'), ...parameters.all('audience')];
  const reachable = policies.filter(({ source }) => source === domain.issuer).map(({ target }) => target);
  const [named, open] = [requested, resources].filter((names) => names.length > 0);
  const [target, ...others] = new Set(named ?? reachable);
  const isLimited = target !== undefined && open !== undefined && !open.includes(target);
  return others.length > 0 || isLimited || (target?.length ?? 0) > LONGEST ? undefined : target;
}
