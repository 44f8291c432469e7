/** The pages. Each is a file of its own that is loaded when it is first shown. */

import { createRouter, createWebHashHistory } from 'vue-router'
import Models from './pages/ModelsPage.vue'

// The address's part behind `#` never reaches the service, so that it need know nothing of pages.
export const router = createRouter({
  history: createWebHashHistory(),
  routes: [
    { path: '/', redirect: '/models' },
    { path: '/models', name: 'models', component: Models },
    { path: '/models/:id(\\d+)', name: 'model', component: () => import('./pages/ModelPage.vue'), props: numbers('id') },
    { path: '/train', name: 'train', component: () => import('./pages/TrainPage.vue') },
    { path: '/compare', name: 'compare', component: () => import('./pages/ComparePage.vue') },
    { path: '/sweeps', name: 'sweeps', component: () => import('./pages/SweepsPage.vue') },
    { path: '/sweeps/:id(\\d+)', name: 'sweep', component: () => import('./pages/SweepPage.vue'), props: numbers('id') },
    { path: '/data', name: 'datasets', component: () => import('./pages/DatasetsPage.vue') },
    { path: '/data/:id', name: 'dataset', component: () => import('./pages/DatasetPage.vue'), props: true },
    { path: '/plugins', name: 'plugins', component: () => import('./pages/PluginsPage.vue') },
    { path: '/plugins/:name', name: 'plugin', component: () => import('./pages/PluginPage.vue'), props: true },
    { path: '/editor', name: 'editor', component: () => import('./pages/EditorPage.vue') },
    { path: '/schedules', name: 'schedules', component: () => import('./pages/SchedulesPage.vue') },
    { path: '/workers', name: 'workers', component: () => import('./pages/WorkersPage.vue') },
    { path: '/tokens', name: 'tokens', component: () => import('./pages/TokensPage.vue') },
    { path: '/audit', name: 'audit', component: () => import('./pages/AuditPage.vue') },
    { path: '/:rest(.*)*', name: 'nowhere', component: () => import('./pages/NowherePage.vue') },
  ],
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
})

function numbers(name: string) {
  return (route: { params: Record<string, string | string[]> }) => ({ [name]: Number(route.params[name]) })
}
