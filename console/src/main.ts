import { createApp } from 'vue'
import 'element-plus/theme-chalk/base.css'
import 'element-plus/theme-chalk/dark/css-vars.css'
import './styles/main.css'
import App from './App.vue'
import { begin, i18n } from './i18n'
import { router } from './router'
import './lib/theme'

void begin().then(() => createApp(App).use(i18n).use(router).mount('#app'))
