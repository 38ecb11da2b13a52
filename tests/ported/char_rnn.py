"""A character GRU in the shape of the small tutorials: one symbol a step, batches first, CrossEntropyLoss."""

from types import SimpleNamespace


def build(torch):
    nn = torch.nn

    class CharRNN(nn.Module):
        def __init__(self, input_size, hidden_size, output_size, model="gru", n_layers=1):
            super().__init__()
            self.model, self.hidden_size, self.n_layers = model.lower(), hidden_size, n_layers
            self.encoder = nn.Embedding(input_size, hidden_size)
            self.rnn = (nn.GRU if self.model == "gru" else nn.LSTM)(hidden_size, hidden_size, n_layers)
            self.decoder = nn.Linear(hidden_size, output_size)

        def forward(self, input, hidden):
            batch_size = input.size(0)
            encoded = self.encoder(input)
            output, hidden = self.rnn(encoded.view(1, batch_size, -1), hidden)
            return self.decoder(output.view(batch_size, -1)), hidden

        def init_hidden(self, batch_size):
            zeros = torch.zeros(self.n_layers, batch_size, self.hidden_size)
            return (zeros, zeros.clone()) if self.model == "lstm" else zeros

    def char_tensor(text, characters):
        tensor = torch.zeros(len(text)).long()
        for i, c in enumerate(text):
            tensor[i] = characters.index(c)
        return tensor

    def chunks(text, characters, chunk_len, batch_size):
        inp, target = torch.LongTensor(batch_size, chunk_len), torch.LongTensor(batch_size, chunk_len)
        for row in range(batch_size):
            piece = text[row * 3 : row * 3 + chunk_len + 1]
            inp[row] = char_tensor(piece[:-1], characters)
            target[row] = char_tensor(piece[1:], characters)
        return inp, target

    def train(model, optimizer, inp, target):
        criterion = nn.CrossEntropyLoss()
        batch_size, chunk_len = inp.size()
        hidden = model.init_hidden(batch_size)
        model.zero_grad()
        loss = 0
        for c in range(chunk_len):
            output, hidden = model(inp[:, c], hidden)
            loss += criterion(output.view(batch_size, -1), target[:, c])
        loss.backward()
        optimizer.step()
        return loss.item() / chunk_len

    def generate(model, characters, prime, length, temperature=0.8):
        hidden = model.init_hidden(1)
        prime_input = char_tensor(prime, characters).unsqueeze(0)
        predicted = prime
        with torch.no_grad():
            for p in range(len(prime) - 1):
                _, hidden = model(prime_input[:, p], hidden)
            inp = prime_input[:, -1]
            for _ in range(length):
                output, hidden = model(inp, hidden)
                odds = output.view(-1).div(temperature).exp()
                char = characters[torch.multinomial(odds, 1)[0]]
                predicted += char
                inp = char_tensor(char, characters)
        return predicted

    return SimpleNamespace(CharRNN=CharRNN, chunks=chunks, train=train, generate=generate)
