/** Plan oidcc-basic-certification-test-plan: Basic OP, discovery, static clients, https. */
import { basicModules } from './basic-modules.ts';

basicModules('oidcc-basic-certification-test-plan', undefined);
