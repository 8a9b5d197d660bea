/** Plan oidcc-formpost-basic-certification-test-plan: the same with `response_mode=form_post`. */
import { basicModules } from './basic-modules.ts';

basicModules('oidcc-formpost-basic-certification-test-plan', 'form_post');
