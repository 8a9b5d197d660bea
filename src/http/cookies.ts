/**
 * Cookies by their short names. On https they carry `__Host-`, so that no sibling domain and no plain-http answer can
 * plant one (RFC 9700 §4.7, FAPI 2.0 attacker A2). Cookies ignore ports, so names carry a mark of the issuer: two
 * servers on one host do not overwrite each other.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CookieChange, CookieName } from '../protocol/message.ts';
import { sha256 } from '../protocol/secrets.ts';

export interface Cookies {
  nameOf(name: CookieName): string;
  read(request: FastifyRequest, name: CookieName): string | undefined;
  change(reply: FastifyReply, change: CookieChange): void;
}

export function cookiesOf(issuer: string): Cookies {
  const secure = issuer.startsWith('https:');
  const mark = sha256(issuer).toString('hex').slice(0, 6);
  const nameOf = (name: CookieName) => `${secure ? '__Host-' : ''}gatehouse_${name}_${mark}`;
  // Lax, so that a link from a client's site comes with the session; forms are checked on their own.
  const kept = { path: '/', httpOnly: true, secure, sameSite: 'lax' } as const;
  // Session Management 1.0 §3.2: read by our script in a frame on a client's page. `None` is to be had with Secure only.
  const shown = { path: '/', httpOnly: false, secure, sameSite: secure ? 'none' : 'lax' } as const;
  return {
    nameOf,
    read: (request, name) => request.cookies[nameOf(name)],
    change(reply, { name, value, maxAge }) {
      const attributes = name === 'state' ? shown : kept;
      if (value === null) reply.clearCookie(nameOf(name), attributes);
      else reply.setCookie(nameOf(name), value, maxAge === undefined ? attributes : { ...attributes, maxAge });
    },
  };
}
