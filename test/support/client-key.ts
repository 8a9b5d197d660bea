/** A client's key pair, and JWTs signed with it just as a test wants them: right, wrong or odd. */
import {
  CompactSign,
  type CryptoKey,
  exportJWK,
  type GenerateKeyPairOptions,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
} from 'jose';

export interface ClientKey {
  readonly alg: string;
  /** As it stands in `jwks`. */
  readonly jwk: JWK & { kid: string };
  readonly privateKey: CryptoKey;
  /** @param claims signed as they are: an object as its JSON, text and bytes as such */
  sign(
    claims: Record<string, unknown> | string | Uint8Array,
    header?: Partial<JWTHeaderParameters> & Record<string, unknown>,
  ): Promise<string>;
}

export async function clientKey(
  alg = 'ES256',
  kid = `key-${alg}`,
  options: GenerateKeyPairOptions = {},
): Promise<ClientKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  return {
    alg,
    jwk: { ...(await exportJWK(publicKey)), kid, alg },
    privateKey,
    sign(claims, header) {
      const payload = claims instanceof Uint8Array || typeof claims === 'string' ? claims : JSON.stringify(claims);
      return new CompactSign(Buffer.from(payload))
        .setProtectedHeader({ alg, kid, ...header })
        .sign(privateKey, { crit: Object.fromEntries((header?.crit ?? []).map((name) => [name, false])) });
    },
  };
}

/** A compact JWS of any header, claims and signature, for what no library would make. */
export function rawJws(header: unknown, claims: unknown, signature: string | Buffer = ''): string {
  const encode = (part: unknown) =>
    (typeof part === 'string' ? Buffer.from(part) : Buffer.from(JSON.stringify(part))).toString('base64url');
  return `${encode(header)}.${encode(claims)}.${typeof signature === 'string' ? signature : signature.toString('base64url')}`;
}
