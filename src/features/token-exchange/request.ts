/**
 * What an exchange is asked for: RFC 8693 §2.1, §3, and our decisions where it leaves room. One target, which `resource` and `audience`
 * may both name (RFC 8707 §2: one API, one token); no refresh tokens, SAML or types of tokens that we do not know.
 */
import { OAuthError } from '../../protocol/errors.ts';
import { TOKEN_TYPES } from '../../protocol/exchanges.ts';
import type { Parameters } from '../../protocol/message.ts';
import { parseScope } from '../../protocol/scope.ts';

export type TokenType = keyof typeof TOKEN_TYPES;

/** A token as it came, of the type it is said to be: which is not proven by that. */
export interface PresentedToken {
  readonly value: string;
  readonly type: TokenType;
}

export interface ExchangeRequest {
  readonly subject: PresentedToken;
  readonly actor: PresentedToken | undefined;
  /** The indicator of an API, or the issuer of a trust domain. */
  readonly target: string;
  /** `undefined`: all that can be had. */
  readonly scope: readonly string[] | undefined;
  readonly requestedType: 'access_token' | 'jwt' | undefined;
}

/**
 * @throws OAuthError `invalid_request`, `invalid_target`, `invalid_scope` or `invalid_authorization_details` when it is malformed, or asks for
 *   what is never given
 */
export function readRequest(parameters: Parameters): ExchangeRequest {
  const subject = presented(parameters, 'subject_token');
  if (!subject) throw new OAuthError('invalid_request', 'subject_token and subject_token_type are required.');
  const actor = presented(parameters, 'actor_token');
  const requestedType = typeOf(parameters.get('requested_token_type'));
  if (requestedType === null || requestedType === 'id_token')
    throw new OAuthError('invalid_request', 'This requested_token_type is not issued here.');
  const targets = new Set([...parameters.all('resource'), ...parameters.all('audience')]);
  const [target, ...others] = targets;
  if (target === undefined) throw new OAuthError('invalid_target', 'Name the target with resource or audience.');
  if (others.length > 0) throw new OAuthError('invalid_target', 'A token is for one target: name one.');
  // What was allowed in detail at one API means nothing at another (RFC 9396 §9, §13).
  if (parameters.get('authorization_details') !== undefined)
    throw new OAuthError('invalid_authorization_details', 'There are no authorization_details in an exchange.');
  const scope = parameters.get('scope');
  return { subject, actor, target, scope: scope === undefined ? undefined : parseScope(scope), requestedType };
}

/** RFC 8693 §2.1: a token and its type come together, or not at all. */
function presented(parameters: Parameters, name: 'subject_token' | 'actor_token'): PresentedToken | undefined {
  const value = parameters.get(name);
  const type = typeOf(parameters.get(`${name}_type`));
  if (value === undefined && type === undefined) return undefined;
  if (value === undefined || type === undefined)
    throw new OAuthError('invalid_request', `${name} and ${name}_type come together.`);
  if (type === null) throw new OAuthError('invalid_request', `This ${name}_type is not taken here.`);
  return { value, type };
}

/** `null` for types that have no use here. */
function typeOf(urn: string | undefined): TokenType | null | undefined {
  if (urn === undefined) return undefined;
  const [found] = Object.entries(TOKEN_TYPES).find(([, known]) => known === urn) ?? [];
  return (found as TokenType | undefined) ?? null;
}
