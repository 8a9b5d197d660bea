/**
 * Sender constraint: a token that only the holder of a key can use. RFC 7800 (`cnf`), RFC 9449 (DPoP), RFC 8705 (mutual TLS).
 *
 * A confirmation method reads the proof that came with a request. At the token endpoint the proof's key is bound into what is
 * minted; where a bound token is used, the same key must be shown.
 */
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client } from './client.ts';
import { OAuthError } from './errors.ts';
import type { EndpointRequest } from './message.ts';
import { profileOf } from './profile.ts';
import type { ReplayMark } from './replay.ts';
import { equals } from './secrets.ts';

/** What a token is bound to, in wire words: it goes into JWTs and introspection as it is. */
export interface Confirmation {
  /** RFC 9449 §6.1. */
  readonly jkt?: string;
  /** RFC 8705 §3.1. */
  readonly 'x5t#S256'?: string;
}

/** A proof that was checked. */
export interface Possession {
  readonly cnf: Confirmation;
  readonly tokenType: 'DPoP' | 'Bearer';
  readonly marks: readonly ReplayMark[];
  /** For the answer, e.g. the next `DPoP-Nonce`. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface ConfirmationMethod {
  readonly name: string;
  /** The scheme that its tokens are used under, where it is one of its own, and what its challenges say (RFC 9110 §11.6.1). */
  readonly challenge?: (server: AuthorizationServer) => { readonly scheme: 'DPoP'; readonly parameters: string };
  /**
   * The proof of this kind that a request carries.
   * @param context.client who asks for tokens; absent where a token is used
   * @param context.holder whose token is used
   * @param context.accessToken the token that is used, which the proof must name
   * @returns `undefined` when there is none, or the client does not use this method
   * @throws OAuthError when there is one and it is not good
   */
  prove(
    request: EndpointRequest,
    context: { readonly client?: Client; readonly holder?: Client; readonly accessToken?: string },
    server: AuthorizationServer,
  ): Promise<Possession | undefined>;
}

/**
 * The key that new tokens are bound to.
 * @returns `undefined` for plain bearer tokens, where client and profile allow them
 * @throws OAuthError `invalid_request` when a proof is missing (FAPI 2.0 SP §5.3.2.1-4, RFC 9449 §5.2, RFC 8705 §3.4)
 */
export async function provePossession(
  request: EndpointRequest,
  client: Client,
  server: AuthorizationServer,
): Promise<Possession | undefined> {
  const { dpop_bound_access_tokens: dpop, tls_client_certificate_bound_access_tokens: tls } = client.metadata;
  for (const method of server.registries.confirmationMethods.values()) {
    const possession = await method.prove(request, { client }, server);
    // Who is registered for one kind does not get by with the other.
    const other = (dpop === true && !possession?.cnf.jkt) || (tls === true && !possession?.cnf['x5t#S256']);
    if (possession && !other) return possession;
  }
  if (dpop === true || tls === true || profileOf(client, server.profile).requiresSenderConstraint) {
    throw new OAuthError('invalid_request', 'A proof of possession is required: DPoP, or a client certificate.');
  }
  return undefined;
}

/** Whether a proof is by the key a token is bound to. */
export function confirms(possession: Possession | undefined, cnf: Confirmation): boolean {
  const { cnf: shown } = possession ?? {};
  const same = (name: keyof Confirmation) => cnf[name] === undefined || equals(shown?.[name] ?? '', cnf[name] ?? '');
  return shown !== undefined && same('jkt') && same('x5t#S256');
}
