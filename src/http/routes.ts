/** What every route of an endpoint shares: its paths, its methods, and 405 with `Allow` for the others (RFC 9110 §15.5.6). */
import type { FastifyInstance, HTTPMethods, RouteHandlerMethod } from 'fastify';
import { OAuthError } from '../protocol/errors.ts';

const METHODS: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Registers an endpoint's handlers by method under all its paths. */
export function route(
  app: FastifyInstance,
  endpoint: { readonly path: string; readonly aliases?: readonly string[] },
  handlers: Readonly<Partial<Record<HTTPMethods, RouteHandlerMethod>>>,
  options: { readonly bodyLimit?: number } = {},
): void {
  const allowed = Object.keys(handlers) as HTTPMethods[];
  for (const url of [endpoint.path, ...(endpoint.aliases ?? [])]) {
    for (const method of allowed) {
      const handler = handlers[method];
      if (handler) app.route({ ...options, method, url, handler, exposeHeadRoute: false });
    }
    app.route({
      method: METHODS.filter((method) => !allowed.includes(method)),
      url,
      exposeHeadRoute: false,
      // Before the body is read: it does not matter what it holds.
      onRequest: async () => {
        throw new OAuthError('invalid_request', 'This method is not allowed here.', {
          status: 405,
          headers: { allow: allowed.join(', ') },
        });
      },
      handler: async () => undefined,
    });
  }
}
