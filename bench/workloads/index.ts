/** All workloads, in the order they are run. */
import type { Workload } from '../servers/target.ts';
import { clientCredentialsJwt, clientCredentialsOpaque } from './client-credentials.ts';
import { introspectionJwt, introspectionOpaque } from './introspection.ts';

export const workloads: readonly Workload[] = [
  clientCredentialsOpaque,
  clientCredentialsJwt,
  introspectionOpaque,
  introspectionJwt,
];
