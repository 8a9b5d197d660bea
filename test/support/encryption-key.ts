/** A key pair of a client that wants its answers encrypted: what it registers, and what it opens them with. */
import { type CompactDecryptResult, type CryptoKey, compactDecrypt, exportJWK, generateKeyPair, type JWK } from 'jose';

export interface EncryptionKey {
  readonly jwks: { readonly keys: readonly JWK[] };
  /** For openid-client. */
  readonly decryption: { readonly key: CryptoKey; readonly alg: string; readonly kid: string };
  /** Opens a JWE with exactly these algorithms. */
  open(jwe: string, enc: string): Promise<{ text: string; header: CompactDecryptResult['protectedHeader'] }>;
}

export async function encryptionKey(alg: string): Promise<EncryptionKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = `${alg}-key`;
  return {
    jwks: { keys: [{ ...(await exportJWK(publicKey)), kid, use: 'enc' }] },
    decryption: { key: privateKey, alg, kid },
    async open(jwe, enc) {
      const { plaintext, protectedHeader } = await compactDecrypt(jwe, privateKey, {
        keyManagementAlgorithms: [alg],
        contentEncryptionAlgorithms: [enc],
      });
      return { text: Buffer.from(plaintext).toString(), header: protectedHeader };
    },
  };
}
