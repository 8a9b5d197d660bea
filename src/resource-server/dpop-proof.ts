/**
 * DPoP proofs, RFC 9449 §4.3: a JWT that the holder of a key signs for one request, naming its method, its URL and its token.
 *
 * Invariant: the URL is compared with the configured origin, never with Host or a forwarding header. Whoever sends the
 * request writes those, and an API that another one impersonates would take the proofs made for that one.
 *
 * Checked here: all that the proof says by itself. Whether its key is that of the token is judged by confirmation.ts, and
 * whether it was used before when everything else is good (verifier.ts).
 */
import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, decodeProtectedHeader, importJWK, type JWK, jwtVerify } from 'jose';
import { isObject, isText } from './access-token.ts';
import type { DpopNonces } from './dpop-nonce.ts';
import { Fault, InvalidProof } from './refusal.ts';

/** A good proof. */
export interface Proof {
  /** RFC 7638, of its key. */
  readonly jkt: string;
  readonly jti: string;
}

/** What the proof must be of. */
export interface ProvedRequest {
  readonly method: string;
  /** The request target, as the client sent it. */
  readonly url: string;
  readonly token: string;
}

/** Seconds: how old a proof may be, and by how much the client's clock may be ahead of ours. */
const MAX_AGE = 60;
const MAX_AHEAD = 30;

/** Seconds after which a proof is refused for its age in any case, counted from any moment in which it was accepted. */
export const PROOF_LIFETIME = MAX_AGE + MAX_AHEAD;

const MAX_PROOF_LENGTH = 8 * 1024;

/** The public members of a key, by its type; RFC 7638 §3.2 hashes these. */
const PUBLIC_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['kty', 'crv', 'x', 'y'],
  OKP: ['kty', 'crv', 'x'],
  RSA: ['kty', 'n', 'e'],
};

/** RFC 7518 §6.2.2, §6.3.2, §6.4: a proof that shows one of these gives its key away. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** base64url of 8192 bits, and of 32: verifying with larger ones would cost this API more than it costs the sender. */
const MAX_RSA = { n: 1366, e: 6 };

/**
 * @param origin scheme, host and port at which clients call this API
 * @param algorithms what proofs may be signed with
 * @param nonces when every proof must carry one
 * @returns a function from the values of the DPoP header to the proof. It throws a Fault: `invalid_dpop_proof`, or
 *   `use_dpop_nonce` when nothing but the nonce is wrong
 */
export function dpopProofs(
  origin: string,
  algorithms: readonly string[],
  nonces: DpopNonces | undefined,
): (values: readonly string[], request: ProvedRequest) => Promise<Proof> {
  return async (values, request) => {
    const [proof = ''] = values;
    if (values.length !== 1) throw new InvalidProof('There must be one DPoP header');
    if (proof.length > MAX_PROOF_LENGTH) throw new InvalidProof('The DPoP proof is too long');
    const { claims, jwk } = await readSigned(proof, algorithms);

    const { jti, htm, htu, iat, ath, nonce } = claims;
    if (!isText(jti)) throw new InvalidProof('The DPoP proof has no jti');
    if (htm !== request.method) throw new InvalidProof('The DPoP proof is for another method');
    const here = request.url.startsWith('/') ? comparable(origin + request.url) : undefined;
    if (here === undefined || comparable(htu) !== here) throw new InvalidProof('The DPoP proof is for another URL');
    // A proof that was made for another token, by a client that was tricked into it.
    if (ath !== createHash('sha256').update(request.token).digest('base64url')) {
      throw new InvalidProof('The DPoP proof is for another access token');
    }
    const now = Date.now() / 1000;
    if (typeof iat !== 'number' || !(iat > now - MAX_AGE && iat < now + MAX_AHEAD)) {
      throw new InvalidProof('The DPoP proof is not of this time');
    }
    if (nonces && !nonces.isGood(nonce))
      throw new Fault('use_dpop_nonce', 'The DPoP proof needs the nonce of DPoP-Nonce');
    return { jkt: await calculateJwkThumbprint(jwk), jti };
  };
}

async function readSigned(proof: string, algorithms: readonly string[]) {
  try {
    const jwk = publicKey(decodeProtectedHeader(proof).jwk);
    const options = { typ: 'dpop+jwt', algorithms: [...algorithms], clockTolerance: MAX_AHEAD };
    const key = ({ alg }: { readonly alg: string }) => importJWK(jwk, alg);
    const { payload: claims } = await jwtVerify<Record<string, unknown>>(proof, key, options);
    return { claims, jwk };
  } catch (cause) {
    if (cause instanceof InvalidProof) throw cause;
    // Whatever went wrong, key and signature are both the sender's.
    throw new InvalidProof('The DPoP proof is malformed, of another type, or not signed by its key', { cause });
  }
}

/** The key of a proof's header, without what else the sender put there (`use`, `key_ops`, `x5u`). */
function publicKey(jwk: unknown): JWK {
  if (!isObject(jwk)) throw new InvalidProof('The DPoP proof has no key');
  if (PRIVATE_MEMBERS.some((name) => name in jwk)) throw new InvalidProof('The DPoP proof shows a private key');
  const members = PUBLIC_MEMBERS[String(jwk.kty)];
  if (!members?.every((name) => isText(jwk[name]))) throw new InvalidProof('The key of the DPoP proof is incomplete');
  const key: JWK = Object.fromEntries(members.map((name) => [name, jwk[name]]));
  if ((key.n?.length ?? 0) > MAX_RSA.n || (key.e?.length ?? 0) > MAX_RSA.e) {
    throw new InvalidProof('The key of the DPoP proof is too large');
  }
  return key;
}

/**
 * RFC 9449 §4.3: without query and fragment, after the normalization of RFC 3986 §6.2.2 and §6.2.3. `URL` sees to the case of
 * scheme and host, the default port and dot segments; escapes are left.
 */
function comparable(uri: unknown): string | undefined {
  if (typeof uri !== 'string' || !URL.canParse(uri)) return undefined;
  const { origin, pathname, username, password } = new URL(uri);
  if (username !== '' || password !== '') return undefined;
  const path = pathname.replace(/%[0-9a-f]{2}/gi, (octet) => {
    const character = String.fromCharCode(Number.parseInt(octet.slice(1), 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : octet.toUpperCase();
  });
  return origin + path;
}
