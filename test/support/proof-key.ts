/** A key of a client that proves to hold it (RFC 9449), and proofs by it just as a test wants them: right, wrong or odd. */
import { createHash, randomUUID } from 'node:crypto';
import {
  CompactSign,
  calculateJwkThumbprint,
  exportJWK,
  type GenerateKeyPairOptions,
  generateKeyPair,
  type JWK,
} from 'jose';
import type { TestServer } from './server.ts';

type Part = Readonly<Record<string, unknown>>;

export interface ProofKey {
  readonly alg: string;
  readonly jwk: JWK;
  readonly privateJwk: JWK;
  readonly jkt: string;
  /** A compact JWS of this header and these claims, as they are. */
  sign(header: Part, claims: Part | string): Promise<string>;
}

export async function proofKey(alg = 'ES256', options: GenerateKeyPairOptions = {}): Promise<ProofKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const jwk = await exportJWK(publicKey);
  return {
    alg,
    jwk,
    privateJwk: await exportJWK(privateKey),
    jkt: await calculateJwkThumbprint(jwk),
    sign: (header, claims) =>
      new CompactSign(Buffer.from(typeof claims === 'string' ? claims : JSON.stringify(claims)))
        .setProtectedHeader(header as { alg: string })
        .sign(privateKey, { crit: Object.fromEntries(((header.crit as string[]) ?? []).map((name) => [name, false])) }),
  };
}

export interface ProofOptions {
  /** Over the right ones; `undefined` leaves one out. */
  readonly header?: Part;
  readonly claims?: Part;
  /** The token the proof is for. */
  readonly accessToken?: string;
}

/** A proof for one request to this server, good as it stands. */
export function proofFor(
  server: Pick<TestServer, 'issuer' | 'clock'>,
  key: ProofKey,
  [method, path]: readonly [method: string, path: string],
  { header, claims, accessToken }: ProofOptions = {},
): Promise<string> {
  return key.sign(
    { typ: 'dpop+jwt', alg: key.alg, jwk: key.jwk, ...header },
    {
      jti: randomUUID(),
      htm: method,
      htu: server.issuer + path,
      iat: Math.floor(server.clock.now().getTime() / 1000),
      ...(accessToken !== undefined && { ath: athOf(accessToken) }),
      ...claims,
    },
  );
}

/** RFC 9449 §4.2. */
export function athOf(accessToken: string): string {
  return createHash('sha256').update(accessToken).digest('base64url');
}

/** A compact JWS of any header, claims and signature, for what no library would make. */
export function rawJws(header: unknown, claims: unknown, signature: string | Buffer = ''): string {
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');
  return `${encode(header)}.${encode(claims)}.${Buffer.from(signature).toString('base64url')}`;
}
