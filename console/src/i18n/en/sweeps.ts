export default {
  title: 'sweeps',
}
