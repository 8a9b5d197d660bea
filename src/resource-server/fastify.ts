/**
 * The Fastify plugin over {@link createTokenVerifier}: `app.requireToken(…)` guards a route, `request.accessToken` is what
 * the token said, and the API's RFC 9728 document is served at its well-known place.
 */
import type { X509Certificate } from 'node:crypto';
import type { FastifyInstance, FastifyPluginOptions, FastifyReply, FastifyRequest } from 'fastify';
import type { AccessToken } from './access-token.ts';
import { demand, type ResourceServerOptions } from './options.ts';
import { presentedRequest } from './presented-request.ts';
import type { Refusal } from './refusal.ts';
import { checkRequirements, type Requirements } from './requirements.ts';
import { type Authenticated, createJudge } from './verifier.ts';

export interface ResourceServerPluginOptions extends ResourceServerOptions {
  /**
   * The client's certificate when a proxy in front ends its TLS connection, read from what that proxy says. It must be a
   * proxy that nobody gets past, and that removes what a caller says in its words. Left out: the certificate of the
   * request's own TLS connection.
   */
  readonly clientCertificate?: (request: FastifyRequest) => X509Certificate | undefined;
}

/** A hook for a route, as `onRequest` (before the body is read) or `preHandler` (after it was validated). */
type Guard = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Lets a request pass only with an access token that meets the requirements; without any, every good token will do.
     * Throws a TypeError at once for what cannot be required.
     */
    requireToken(requirements?: Requirements): Guard;
    /** `requireToken` for scope values alone; they must all be granted. */
    requireScope(...scope: string[]): Guard;
  }
  interface FastifyRequest {
    /** The access token of this request. Throws on a route that no `requireToken` or `requireScope` guards. */
    accessToken: AccessToken;
  }
}

async function plugin(app: FastifyInstance, options: ResourceServerPluginOptions): Promise<void> {
  if (app.prefix !== '') {
    throw new TypeError(`Register resourceServer outside the prefix ${app.prefix}: its metadata belongs to the root`);
  }
  const { judge, clientCertificate } = readOptions(options);
  const senders = new WeakMap<FastifyRequest, Authenticated>();
  const asked = { scopes: new Set<string>(), types: new Set<string>() };

  app.decorateRequest('accessToken', {
    getter(this: FastifyRequest) {
      const sender = senders.get(this);
      if (sender === undefined) throw new Error('No requireToken guards this route: there is no access token');
      return sender.accessToken;
    },
  });

  function present(request: FastifyRequest) {
    const presented = { ...presentedRequest(request.raw), url: request.originalUrl };
    return clientCertificate ? { ...presented, certificate: clientCertificate(request) } : presented;
  }

  function refuse(request: FastifyRequest, reply: FastifyReply, { status, headers, body, cause }: Refusal) {
    if (status === 503) request.log.error({ err: cause }, 'the access token cannot be checked');
    return reply.code(status).headers(headers).send(body);
  }

  app.decorate('requireToken', (requirements: Requirements = {}): Guard => {
    checkRequirements(requirements);
    for (const value of requirements.scope ?? []) asked.scopes.add(value);
    for (const type of requirements.authorizationDetails ?? []) asked.types.add(type);

    return async (request, reply) => {
      // A second guard on the way to a route asks for more of the same token: its proof is used up by the first.
      const sender = senders.get(request) ?? (await judge.authenticate(present(request)));
      if ('refusal' in sender) return refuse(request, reply, sender.refusal);
      reply.headers(sender.headers);
      const refusal = judge.authorize(sender, requirements);
      if (refusal) return refuse(request, reply, refusal);
      senders.set(request, sender);
      return undefined;
    };
  });
  app.decorate('requireScope', (...scope: string[]): Guard => app.requireToken({ scope }));

  const { url, document } = judge.metadata;
  // A colon in the path is only a colon: doubled, or Fastify would read a parameter.
  app.get(url.pathname.replaceAll(':', '::'), async (_request, reply) => {
    // Public, and read by clients in browsers too.
    reply.headers({ 'access-control-allow-origin': '*', 'cache-control': 'public, max-age=3600' });
    return {
      ...(asked.scopes.size > 0 ? { scopes_supported: [...asked.scopes].sort() } : {}),
      ...(asked.types.size > 0 ? { authorization_details_types_supported: [...asked.types].sort() } : {}),
      ...document,
    };
  });
}

function readOptions(options: ResourceServerPluginOptions & FastifyPluginOptions) {
  // Fastify's own options of a registration come along.
  const { prefix, logLevel, logSerializers, clientCertificate, ...others } = options;
  const judge = createJudge(others);
  if (clientCertificate !== undefined) {
    demand(typeof clientCertificate === 'function', 'clientCertificate', 'a function');
    demand(others.bindings?.includes('mtls') === true, 'bindings', "with 'mtls' when clientCertificate is given");
  }
  return { judge, clientCertificate };
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
