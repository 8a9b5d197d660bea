/**
 * `gatehouse/resource-server`: what an API needs to accept the access tokens of Gatehouse, or of any other issuer that
 * follows RFC 9068 (JWT access tokens) or RFC 7662 (introspection), bound to a key (RFC 9449, RFC 8705) or not.
 *
 * `createTokenExchange` is for an API that calls another one: it gets a token for that one in place of the caller's (RFC 8693).
 *
 * Two doors to the same judgement: `resourceServer`, a Fastify plugin, and `createTokenVerifier`, a plain function for
 * everything else. docs/resource-server.md shows both by example.
 */
export type { AccessToken, AuthorizationDetail } from './access-token.ts';
export type { Algorithm } from './algorithms.ts';
export { type ResourceServerPluginOptions, resourceServer } from './fastify.ts';
export type { Binding, DpopOptions, IntrospectionClient, PrivateKey, ResourceServerOptions } from './options.ts';
export { type PresentedRequest, presentedRequest } from './presented-request.ts';
export type { Refusal } from './refusal.ts';
export { memoryReplayMarks, type ReplayMarks } from './replay-marks.ts';
export type { Requirements } from './requirements.ts';
export type { ResourceMetadata } from './resource-metadata.ts';
export {
  createTokenExchange,
  type ExchangedToken,
  ExchangeFault,
  type ExchangeTarget,
  type TokenExchange,
  type TokenExchangeOptions,
} from './token-exchange.ts';
export { createTokenVerifier, type TokenVerifier, type Verdict } from './verifier.ts';
