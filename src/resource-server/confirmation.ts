/**
 * Sender constraint, RFC 7800: a token that names a key in `cnf` is worth nothing without that key.
 *
 * Invariant: whatever `cnf` names is checked, or the token is refused. A confirmation this package does not know is one it
 * cannot check.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import { isObject } from './access-token.ts';
import type { Binding } from './options.ts';
import { InvalidToken } from './refusal.ts';

/** What the sender of a request has shown to hold. */
export interface Shown {
  /** The thumbprint of the key of a DPoP proof; absent when the scheme was Bearer. */
  readonly jkt: string | undefined;
  /** The certificate of the TLS connection. */
  readonly certificate: X509Certificate | undefined;
}

/**
 * @param cnf the confirmation of the token, as the issuer said it
 * @param accepted which tokens the API lets in
 * @throws InvalidToken
 */
export function judgeConfirmation(cnf: unknown, shown: Shown, accepted: readonly Binding[]): void {
  if (cnf === undefined) {
    // RFC 9449 §7.1: the client believes the token safe in a thief's hands. It is not.
    if (shown.jkt !== undefined) throw new InvalidToken('The access token is not bound to a DPoP key');
    if (!accepted.includes('none'))
      throw new InvalidToken('Only access tokens that are bound to a key are accepted here');
    return;
  }
  if (!isObject(cnf)) throw new InvalidToken("The access token's cnf is not an object");
  const { jkt, 'x5t#S256': x5t, ...unknown } = cnf;
  if (Object.keys(unknown).length > 0 || (jkt === undefined && x5t === undefined)) {
    throw new InvalidToken('The access token is bound in a way that is not accepted here');
  }
  // RFC 9449 §7.2: a bound token as Bearer is one that was stolen without its key.
  if (jkt !== undefined && shown.jkt === undefined) throw new InvalidToken('The access token needs a DPoP proof');
  if (jkt === undefined && shown.jkt !== undefined)
    throw new InvalidToken('The access token is not bound to a DPoP key');
  if (jkt !== shown.jkt) throw new InvalidToken('The access token is bound to another DPoP key');
  if (x5t !== undefined) judgeCertificate(x5t, shown.certificate, accepted);
}

/** RFC 8705 §3. The chain is no matter here: the issuer has bound the token to this very certificate. */
function judgeCertificate(x5t: unknown, certificate: X509Certificate | undefined, accepted: readonly Binding[]): void {
  if (!accepted.includes('mtls')) throw new InvalidToken('Certificate-bound access tokens are not accepted here');
  if (certificate === undefined) throw new InvalidToken('The access token needs its client certificate');
  if (x5t !== createHash('sha256').update(certificate.raw).digest('base64url')) {
    throw new InvalidToken('The access token is bound to another client certificate');
  }
  const now = Date.now();
  if (!(Date.parse(certificate.validFrom) <= now && now < Date.parse(certificate.validTo))) {
    throw new InvalidToken('The client certificate is not valid at this time');
  }
}
