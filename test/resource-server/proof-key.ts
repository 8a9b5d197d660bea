/** A client's DPoP key, and the proofs it makes: good ones (RFC 9449 §4.2), and any other. */
import { createHash, randomUUID } from 'node:crypto';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose';

export interface ProofKey {
  readonly alg: string;
  readonly jkt: string;
  readonly publicJwk: JWK;
  readonly privateJwk: JWK;
  readonly privateKey: CryptoKey;
}

export async function makeProofKey(alg = 'ES256'): Promise<ProofKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const publicJwk = await exportJWK(publicKey);
  return {
    alg,
    jkt: await calculateJwkThumbprint(publicJwk),
    publicJwk,
    privateJwk: await exportJWK(privateKey),
    privateKey,
  };
}

/** What a proof says; a member that is `undefined` is left out. */
export interface ProofParts {
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
}

/** The claims of a good proof. */
export function proofClaims(method: string, url: string, token: string): Record<string, unknown> {
  return {
    jti: randomUUID(),
    htm: method,
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ath: createHash('sha256').update(token).digest('base64url'),
  };
}

/** Signs a proof for `method url` with `token`, in which `parts` replace single members. */
export function prove(key: ProofKey, method: string, url: string, token: string, parts: ProofParts = {}) {
  const header = { typ: 'dpop+jwt', alg: key.alg, jwk: key.publicJwk, ...parts.header };
  return new SignJWT({ ...proofClaims(method, url, token), ...parts.claims })
    .setProtectedHeader(JSON.parse(JSON.stringify(header)) as JWTHeaderParameters)
    .sign(key.privateKey);
}
