/**
 * The Fastify plugin over {@link createTokenVerifier}: `app.requireScope(…)` guards a route, `request.accessToken` is what
 * the token said, and the API's RFC 9728 document is served at its well-known place.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AccessToken } from './access-token.ts';
import { createTokenVerifier, protectedResourceMetadataUrl, type ResourceServerOptions } from './verifier.ts';

/** A hook for a route, as `onRequest` (before the body is read) or `preHandler` (after it was validated). */
type Guard = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Lets a request pass only with an access token that holds all of these scope values; without any, every good token
     * will do. Throws a TypeError at once for what cannot be a scope value.
     */
    requireScope(...scope: string[]): Guard;
  }
  interface FastifyRequest {
    /** The access token of this request. Throws on a route that no `requireScope` guards. */
    accessToken: AccessToken;
  }
}

/** RFC 6749 §3.3 */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

async function plugin(app: FastifyInstance, options: ResourceServerOptions): Promise<void> {
  if (app.prefix !== '') {
    throw new TypeError(`Register resourceServer outside the prefix ${app.prefix}: its metadata belongs to the root`);
  }
  const verifier = createTokenVerifier(options);
  const scopesAsked = new Set<string>();
  const accepted = new WeakMap<FastifyRequest, AccessToken>();

  app.decorateRequest('accessToken', {
    getter(this: FastifyRequest) {
      const accessToken = accepted.get(this);
      if (accessToken === undefined) throw new Error('No requireScope guards this route: there is no access token');
      return accessToken;
    },
  });

  app.decorate('requireScope', (...scope: string[]): Guard => {
    for (const value of scope) {
      if (!SCOPE_TOKEN.test(value)) throw new TypeError(`Not a scope value: ${JSON.stringify(value)}`);
      scopesAsked.add(value);
    }
    return async (request, reply) => {
      const verdict = await verifier.verify(authorizationValues(request.raw.rawHeaders), {
        url: request.raw.url,
        scope,
      });
      if (verdict.accepted) {
        accepted.set(request, verdict.accessToken);
        return;
      }
      const { status, headers, body, cause } = verdict.refusal;
      if (status === 503) request.log.error({ err: cause }, 'the access token cannot be checked');
      return reply.code(status).headers(headers).send(body);
    };
  });

  // A colon in the path is only a colon: doubled, or Fastify would read a parameter.
  const metadataPath = protectedResourceMetadataUrl(options.resource).pathname.replaceAll(':', '::');
  app.get(metadataPath, async (_request, reply) => {
    // Public, and read by clients in browsers too.
    reply.headers({ 'access-control-allow-origin': '*', 'cache-control': 'public, max-age=3600' });
    return {
      resource: options.resource,
      authorization_servers: [options.issuer],
      ...(scopesAsked.size > 0 ? { scopes_supported: [...scopesAsked].sort() } : {}),
      bearer_methods_supported: ['header'],
    };
  });
}

/** Every Authorization header that arrived. Not from `headers`: there Node.js drops all but the first. */
function authorizationValues(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'authorization');
}

/**
 * Fastify plugin; register it once, on the application that holds the routes.
 *
 * Rejects with a TypeError when an option cannot be right. It does not wait for the authorization server: an API may
 * start before it.
 */
export const resourceServer = Object.assign(plugin, {
  // Fastify's own marks of a plugin whose decorators belong to the application that registers it.
  [Symbol.for('skip-override')]: true,
  [Symbol.for('plugin-meta')]: { name: 'gatehouse/resource-server', fastify: '5.x' },
});
