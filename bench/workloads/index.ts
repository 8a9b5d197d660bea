/** All workloads, in the order they are run. */
import type { Workload } from '../servers/target.ts';
import { clientCredentialsJwt, clientCredentialsOpaque } from './client-credentials.ts';
import { codeFlowEs256, codeFlowRs256 } from './code-flow.ts';
import { fapiFlow } from './fapi-flow.ts';
import { introspectionJwt, introspectionOpaque } from './introspection.ts';
import { refresh, refreshRotation } from './refresh.ts';
import { revocation } from './revocation.ts';
import { introspectionUnderSignIn, signIn, signInFlow, signInReference } from './sign-in.ts';
import { tokenExchange } from './token-exchange.ts';
import { userinfo } from './userinfo.ts';

export const workloads: readonly Workload[] = [
  clientCredentialsOpaque,
  clientCredentialsJwt,
  introspectionOpaque,
  introspectionJwt,
  codeFlowEs256,
  codeFlowRs256,
  refresh,
  refreshRotation,
  fapiFlow,
  tokenExchange,
  userinfo,
  revocation,
  signIn,
  signInReference,
  signInFlow,
  introspectionUnderSignIn,
];
