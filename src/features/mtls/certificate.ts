/**
 * What a client's certificate says: RFC 5280 §4.1.2.5 (validity), §4.2.1.6 (subject alternative names), RFC 8705 §3.1
 * (thumbprint). node:crypto reads the certificate; here is only what it leaves as text.
 */
import type { X509Certificate } from 'node:crypto';
import { sha256 } from '../../protocol/secrets.ts';

/** Whether the certificate is good at `now`: the layer that checked its chain may have done so earlier, or not at all. */
export function isCurrent({ validFrom, validTo }: X509Certificate, now: Date): boolean {
  // Both ends count. A date that is none compares as false.
  return Date.parse(validFrom) <= now.getTime() && now.getTime() <= Date.parse(validTo);
}

/** `x5t#S256`, RFC 8705 §3.1. */
export function thumbprint(der: Buffer): string {
  return sha256(der).toString('base64url');
}

/** One name and what separates it from the next. Node writes a value that could be mistaken as a JSON string. */
const NAME = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(, |$)/y;

/**
 * The subject alternative names of one kind.
 * @returns none when any of them does not parse: what stands behind it could be anything
 */
export function alternativeNames({ subjectAltName }: X509Certificate, kind: 'DNS' | 'URI' | 'email'): string[] {
  if (!subjectAltName) return [];
  const names: string[] = [];
  NAME.lastIndex = 0;
  for (let end: string | undefined; end !== ''; ) {
    const [, type, value = '', followed] = NAME.exec(subjectAltName) ?? [];
    if (followed === undefined) return [];
    if (type === kind) names.push(value.startsWith('"') ? String(JSON.parse(value)) : value);
    end = followed;
  }
  return names;
}
