/** Encrypts to a server as a client does that has read its JWKS; and as no library would. */
import { CompactEncrypt, type CompactJWEHeaderParameters, importJWK, type JWK } from 'jose';

/** The key that the server publishes for an algorithm: one, so that nobody has to choose. */
export async function encryptionKey(issuer: string, alg: string): Promise<JWK & { kid: string }> {
  const { keys } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: (JWK & { kid: string })[] };
  const [key, ...others] = keys.filter((jwk) => jwk.use === 'enc' && jwk.alg === alg);
  if (!key || others.length > 0) throw new Error(`${others.length} more than one key for ${alg}, or none`);
  return key;
}

/** @param header over what a library writes; `undefined` leaves a member out */
export async function encryptTo(
  jwk: JWK,
  text: string,
  header: Partial<Record<keyof CompactJWEHeaderParameters, unknown>> = {},
): Promise<string> {
  const all = { alg: jwk.alg, enc: 'A256GCM', kid: jwk.kid, cty: 'JWT', ...header };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const crit = Object.fromEntries(((header.crit ?? []) as string[]).map((name) => [name, true]));
  return new CompactEncrypt(Buffer.from(text))
    .setProtectedHeader(given as unknown as CompactJWEHeaderParameters)
    .encrypt(await importJWK(jwk, String(all.alg)), { crit });
}

/** The same JWE under another header, as an attacker writes it who has no key: nothing has to fit any more. */
export function underHeader(jwe: string, changes: Record<string, unknown>): string {
  const [header = '', ...rest] = jwe.split('.');
  const decoded = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>;
  return [Buffer.from(JSON.stringify({ ...decoded, ...changes })).toString('base64url'), ...rest].join('.');
}
