/**
 * Cookies by their short names. On https they carry `__Host-`, so that no sibling domain and no plain-http answer can
 * plant one (RFC 9700 §4.7, FAPI 2.0 attacker A2). Cookies ignore ports, so names carry a mark of the issuer: two
 * servers on one host do not overwrite each other.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CookieChange, CookieName } from '../protocol/message.ts';
import { sha256 } from '../protocol/secrets.ts';

export interface Cookies {
  read(request: FastifyRequest, name: CookieName): string | undefined;
  change(reply: FastifyReply, change: CookieChange): void;
}

export function cookiesOf(issuer: string): Cookies {
  const secure = issuer.startsWith('https:');
  const mark = sha256(issuer).toString('hex').slice(0, 6);
  const nameOf = (name: CookieName) => `${secure ? '__Host-' : ''}gatehouse_${name}_${mark}`;
  return {
    read: (request, name) => request.cookies[nameOf(name)],
    change(reply, { name, value, maxAge }) {
      // Lax, so that a link from a client's site comes with the session; forms are checked on their own.
      const attributes = { path: '/', httpOnly: true, secure, sameSite: 'lax' } as const;
      if (value === null) reply.clearCookie(nameOf(name), attributes);
      else reply.setCookie(nameOf(name), value, maxAge === undefined ? attributes : { ...attributes, maxAge });
    },
  };
}
