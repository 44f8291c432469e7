/** The plugin that a new author begins with: it works as it is, and its comments say what to change. */

/** Its words come in the language of the page, by these names. */
type TemplateWord = 'about' | 'summary' | 'version' | 'tasks' | 'parameters' | 'hidden' | 'epochs' | 'rate' | 'build' | 'train' | 'loss'

export function pythonTemplate(word: (name: TemplateWord) => string): string {
  return `"""${word('about')}"""

from dataclasses import dataclass

from trainyard import Algorithm, Trainer, nn, optim, param
from trainyard.nn import functional as F


class MyPlugin(Algorithm):
    """${word('summary')}"""

    name = "my-plugin"
    version = "0.1.0"  # ${word('version')}
    tasks = ["forecasting", "regression"]  # ${word('tasks')}

    # ${word('parameters')}
    @dataclass
    class Parameters:
        hidden: int = param(32, ge=1, le=4096, doc="${word('hidden')}")
        epochs: int = param(10, ge=1, le=1000, doc="${word('epochs')}")
        learning_rate: float = param(0.005, gt=0, le=1, doc="${word('rate')}")

    def build(self, data):
        """${word('build')}"""
        layers = [nn.Linear(data.inputs, self.params.hidden), nn.ReLU(), nn.Linear(self.params.hidden, data.outputs)]
        if data.task == "forecasting":
            layers = [nn.Flatten(), *layers, nn.Unflatten(1, (data.horizon, len(data.targets)))]
        return nn.Sequential(*layers)

    def train(self, data):
        """${word('train')}"""
        net = self.build(data)
        optimizer = optim.Adam(net.parameters(), lr=self.params.learning_rate)
        trainer = Trainer(self.params.epochs, batch_size=32, patience=3)
        # ${word('loss')}
        trainer.fit(net, optimizer, lambda batch: F.mse_loss(net(batch.x), batch.y))
        return net
`
}
