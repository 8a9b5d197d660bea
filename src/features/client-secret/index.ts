/**
 * `client_secret_basic` and `client_secret_post`: RFC 6749 §2.3.1, OAuth 2.1 §2.4.1.
 *
 * Secrets are 256 bits from our generator, so SHA-256 is enough to store them and cheap to check. A client may hold
 * several, each with an end. All are compared, in constant time; for an unknown client one is compared that nobody has.
 */
import type { Client, ClientSecret } from '../../protocol/client.ts';
import type { ClaimedClient, Feature } from '../../protocol/feature.ts';
import { decodeForm } from '../../protocol/message.ts';
import { equals, sha256 } from '../../protocol/secrets.ts';

export function clientSecret(): Feature {
  return {
    name: 'client-secret',
    clientAuthenticationMethods: [
      {
        name: 'client_secret_basic',
        usesHeader: true,
        claims: ({ authorization: [header], now }) =>
          header === undefined ? undefined : claim(parseBasic(header), now),
      },
      {
        name: 'client_secret_post',
        claims: ({ parameters, now }) => {
          const secret = parameters.get('client_secret');
          return secret === undefined ? undefined : claim({ id: parameters.get('client_id') ?? '', secret }, now);
        },
      },
    ],
  };
}

const NOBODYS: ClientSecret = { hash: Buffer.alloc(32), expiresAt: null };

function claim({ id, secret }: { id: string; secret: string }, now: Date): ClaimedClient {
  return {
    clientId: id,
    async prove(client: Client | undefined) {
      const presented = sha256(secret);
      const secrets = client && client.secrets.length > 0 ? client.secrets : [NOBODYS];
      // No early end: how many secrets there are does not show.
      const matches = secrets.filter(
        ({ hash, expiresAt }) => equals(hash, presented) && (expiresAt === null || expiresAt > now),
      );
      return client !== undefined && matches.length > 0 ? [] : undefined;
    },
  };
}

/**
 * RFC 6749 §2.3.1: base64 of `id:secret`, both form-encoded first, so neither may hold a bare colon. A header that is not
 * that was still an attempt to authenticate: it claims to be nobody, which fails with 401 like any other.
 */
function parseBasic(header: string): { id: string; secret: string } {
  const [, encoded] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header) ?? [];
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return { id: '', secret: '' };
  return { id: decodeForm(text.slice(0, colon)), secret: decodeForm(text.slice(colon + 1)) };
}
