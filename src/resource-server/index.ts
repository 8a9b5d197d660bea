/**
 * `gatehouse/resource-server`: what an API needs to accept the access tokens of Gatehouse, or of any other issuer that
 * follows RFC 9068 (JWT access tokens) or RFC 7662 (introspection).
 *
 * Two doors to the same judgement: `resourceServer`, a Fastify plugin, and `createTokenVerifier`, a plain function for
 * everything else. docs/resource-server.md shows both by example.
 */
export type { AccessToken } from './access-token.ts';
export { resourceServer } from './fastify.ts';
export type { Refusal } from './refusal.ts';
export {
  createTokenVerifier,
  type PresentedRequest,
  type ResourceServerOptions,
  type TokenVerifier,
  type Verdict,
} from './verifier.ts';
